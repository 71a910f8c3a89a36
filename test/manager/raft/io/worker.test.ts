import { readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import anyTest, { type TestFn } from 'ava';
import { readLogOwner } from '../../../../manager/raft/io/log-owner.ts';
import { startWorkerConsensus } from '../../../../manager/raft/io/start.ts';
import { isShoalError } from '../../../../shared/errors.ts';
import { CLUSTER_ID } from '../../../support/identity.ts';
import { TestCluster, word } from './harness.ts';

/** Consensus in its thread, as the program runs it. */
const test = anyTest.serial as TestFn<{ cluster: TestCluster }>;

test.beforeEach(async (t) => {
  t.context = { cluster: await TestCluster.create({ starter: startWorkerConsensus }) };
});
test.afterEach.always((t) => t.context.cluster.close());

async function refusal(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'started';
  } catch (error) {
    return isShoalError(error, 'failed-precondition') ? error.message : `wrong: ${error}`;
  }
}

test('three threads agree, survive the leader, and end when they are closed', async (t) => {
  const { cluster } = t.context;
  await cluster.grow(3);
  const leader = await cluster.leader();
  const indexes = await Promise.all(
    Array.from({ length: 500 }, (_, i) => leader.consensus.propose(word(`w${i}`))),
  );
  t.is(new Set(indexes).size, 500);
  const [follower] = cluster.followers();
  await follower?.consensus.readBarrier();
  t.is(follower?.words.text(), leader.words.text());
  await leader.consensus.close();
  t.is(
    await refusal(leader.consensus.propose(word('x'))),
    'wrong: ShoalError: this manager is stopping',
  );
  t.false(leader.consensus.status().isLeader, 'who has stopped does not lead');
  await cluster.leader();
  const back = await cluster.start(leader.member, { kind: 'restart' });
  await back.consensus.readBarrier();
  t.is(back.words.words.length, 500);
});

test('snapshots are taken beside the writes and restored at the next start', async (t) => {
  const cluster = await TestCluster.create({
    starter: startWorkerConsensus,
    compaction: { snapshotEveryEntries: 200, trailingEntries: 20 },
  });
  t.teardown(() => cluster.close());
  const [only] = await cluster.grow(1);
  if (only === undefined) return t.fail();
  for (let round = 0; round < 10; round++) {
    await Promise.all(
      Array.from({ length: 100 }, (_, i) => only.consensus.propose(word(`r${round}-${i}`))),
    );
  }
  const before = only.words.text();
  const again = await cluster.restart(only);
  await again.consensus.readBarrier();
  t.is(again.words.text(), before);
  const firstApplied = again.words.words.length;
  t.is(firstApplied, 1_000);
});

test('a log is known by its owner, and is not started as another', async (t) => {
  const { cluster } = t.context;
  const [only] = await cluster.grow(1);
  if (only === undefined) return t.fail();
  await only.consensus.close();
  t.deepEqual(readLogOwner(only.folder), {
    raftId: only.member.raftId as never,
    clusterId: CLUSTER_ID,
    removed: false,
  });
  t.is(readLogOwner(join(only.folder, 'nothing')), undefined);
  const other = await cluster.newMember();
  const asOther = startWorkerConsensus({
    folder: only.folder,
    listen: only.member.raftAddress,
    identity: only.identity,
    start: { kind: 'bootstrap', member: other },
    stateMachine: only.words,
    log: { ...console, with: () => t.fail() } as never,
    fatal: () => t.fail('a failed start is the start’s own error'),
    logLevel: 'error',
  });
  t.regex(await refusal(asOther), /that of member/);
});

test('a start fails with the reason: no log, a damaged log, an address that is taken', async (t) => {
  const { cluster } = t.context;
  const member = await cluster.newMember();
  t.regex(await refusal(cluster.start(member, { kind: 'restart' })), /no Raft log/);
  const [only] = await cluster.grow(1);
  if (only === undefined) return t.fail();
  await only.consensus.propose(word('kept'));
  await only.consensus.close();
  const server = createServer();
  const port = Number(only.member.raftAddress.split(':')[1]);
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  t.regex(await refusal(cluster.start(only.member, { kind: 'restart' })), /cannot listen/);
  await new Promise((resolve) => server.close(resolve));
  for (const name of await readdir(only.folder)) {
    if (name.startsWith('wal-')) await rm(join(only.folder, name));
  }
  t.regex(await refusal(cluster.start(only.member, { kind: 'restart' })), /segments are gone/);
});
