import anyTest, { type TestFn } from 'ava';
import { isShoalError, NotLeaderError } from '../../../../shared/errors.ts';
import { issueIdentity } from '../../../support/identity.ts';
import { type Manager, TestCluster, until, word } from './harness.ts';

/** Members in one process over real sockets, disks and certificates; the network is loopback. */
const test = anyTest.serial as TestFn<{ cluster: TestCluster }>;

test.afterEach.always(async (t) => {
  await t.context.cluster?.close();
});

const sameWords = (managers: readonly Manager[]) =>
  until('all have the same words', () =>
    managers.every(({ words }) => words.text() === managers[0]?.words.text()),
  );

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'ok';
  } catch (error) {
    return isShoalError(error) ? error.code : String(error);
  }
}

test('one member leads at once, and has its words again after a restart', async (t) => {
  const cluster = await TestCluster.create();
  t.context = { cluster };
  const [first] = await cluster.grow(1);
  if (first === undefined) return t.fail();
  const indexes = await Promise.all(
    ['a', 'b', 'c'].map((text) => first.consensus.propose(word(text))),
  );
  t.deepEqual(
    indexes,
    [...indexes].sort((a, b) => a - b),
  );
  t.is(first.words.text(), 'a b c');
  t.is(await first.consensus.readBarrier(), indexes[2] ?? -1);
  const again = await cluster.restart(first);
  await again.consensus.readBarrier();
  t.is(again.words.text(), 'a b c');
  await until('it leads', () => again.consensus.status().isLeader);
  t.is(typeof (await again.consensus.propose(word('d'))), 'number');
});

test('three members: writes at the leader reach all, others name the leader', async (t) => {
  const cluster = await TestCluster.create();
  t.context = { cluster };
  await cluster.grow(3);
  const leader = await cluster.leader();
  await Promise.all(Array.from({ length: 200 }, (_, i) => leader.consensus.propose(word(`w${i}`))));
  for (const follower of cluster.followers()) {
    await follower.consensus.readBarrier();
    t.is(follower.words.text(), leader.words.text(), 'a read sees every acknowledged write');
    const error = await t.throwsAsync(follower.consensus.propose(word('x')));
    t.is(error instanceof NotLeaderError ? error.leader : undefined, leader.member.nodeId);
  }
  const { members } = leader.consensus.status();
  t.is(members.length, 3);
  t.true(members.every(({ learner, active }) => !learner && active));
});

test('the leader dies: another is elected, nothing acknowledged is lost, the dead one catches up', async (t) => {
  const cluster = await TestCluster.create();
  t.context = { cluster };
  await cluster.grow(3);
  const old = await cluster.leader();
  await old.consensus.propose(word('before'));
  const rest = cluster.followers();
  const hanging = old.consensus.close();
  await hanging;
  await until('another leads', () => rest.some(({ consensus }) => consensus.status().isLeader));
  const leader = rest.find(({ consensus }) => consensus.status().isLeader) as Manager;
  await leader.consensus.propose(word('after'));
  t.is(leader.words.text(), 'before after');
  const back = await cluster.start(old.member, { kind: 'restart' });
  await back.consensus.readBarrier();
  t.is(back.words.text(), 'before after');
});

test('without a majority there are no writes and no reads, and both come back with it', async (t) => {
  const cluster = await TestCluster.create();
  t.context = { cluster };
  await cluster.grow(3);
  const leader = await cluster.leader();
  const others = cluster.followers();
  await Promise.all(others.map(({ consensus }) => consensus.close()));
  t.is(await codeOf(leader.consensus.propose(word('lost?'))), 'unknown-outcome');
  await until('it steps down', () => !leader.consensus.status().isLeader);
  t.is(await codeOf(leader.consensus.readBarrier()), 'unavailable');
  t.is(await codeOf(leader.consensus.propose(word('no'))), 'unavailable');
  const [one] = others;
  if (one === undefined) return t.fail();
  await cluster.start(one.member, { kind: 'restart' });
  const next = await cluster.leader();
  await next.consensus.propose(word('yes'));
  t.true(next.words.text().endsWith('yes'));
});

test('a member far behind is sent a snapshot, and the log stays short', async (t) => {
  const cluster = await TestCluster.create({
    compaction: { snapshotEveryEntries: 100, trailingEntries: 10 },
  });
  t.context = { cluster };
  await cluster.grow(3);
  const [late] = cluster.followers();
  if (late === undefined) return t.fail();
  await late.consensus.close();
  const leader = await cluster.leader();
  // As long as it counts as in reach, the log is kept for it.
  await until('it is missed', () =>
    leader.consensus
      .status()
      .members.some(({ member, active }) => member.raftId === late.member.raftId && !active),
  );
  for (let round = 0; round < 10; round++) {
    await Promise.all(
      Array.from({ length: 50 }, (_, i) => leader.consensus.propose(word(`r${round}-${i}`))),
    );
  }
  const back = await cluster.start(late.member, { kind: 'restart' });
  await back.consensus.readBarrier();
  t.is(back.words.text(), leader.words.text());
  t.true(back.words.restores >= 2, 'its own snapshot at the start, then the one it was sent');
  const again = await cluster.restart(back);
  await again.consensus.readBarrier();
  t.is(again.words.text(), leader.words.text(), 'also from its own disk');
  const all = await Promise.all(cluster.managers.map((one) => cluster.restart(one)));
  const next = await cluster.leader();
  await next.consensus.readBarrier();
  await sameWords(all);
  t.is(next.words.words.length, 500);
});

test('leadership is handed over while writes go on', async (t) => {
  const cluster = await TestCluster.create();
  t.context = { cluster };
  await cluster.grow(3);
  const old = await cluster.leader();
  const [target] = cluster.followers();
  if (target === undefined) return t.fail();
  const writes = Promise.all(
    Array.from({ length: 50 }, (_, i) => codeOf(old.consensus.propose(word(`${i}`)))),
  );
  await old.consensus.transferLeadership(target.member.raftId);
  await until('the target leads', () => target.consensus.status().isLeader);
  const outcomes = await writes;
  t.true(outcomes.every((code) => ['ok', 'unavailable', 'unknown-outcome'].includes(code)));
  await target.consensus.readBarrier();
  const ok = outcomes.filter((code) => code === 'ok').length;
  t.true(target.words.words.length >= ok, 'each write that succeeded is there');
  t.is(await codeOf(old.consensus.transferLeadership()), 'unavailable', 'only the leader can');
});

test('a removed member learns it, may not come back, and a new one takes its place', async (t) => {
  const cluster = await TestCluster.create();
  t.context = { cluster };
  await cluster.grow(3);
  const leader = await cluster.leader();
  const [gone, other] = cluster.followers();
  if (gone === undefined || other === undefined) return t.fail();
  t.is(await codeOf(leader.consensus.removeMember(leader.member.raftId)), 'failed-precondition');
  await leader.consensus.removeMember(gone.member.raftId);
  await until('it knows', () => gone.consensus.status().removed === true);
  t.is(leader.consensus.status().members.length, 2);
  await gone.consensus.close();
  t.is(
    await codeOf(cluster.start(gone.member, { kind: 'restart' })),
    'failed-precondition',
    'not under its old id',
  );
  t.is(await codeOf(leader.consensus.addMember(gone.member)), 'failed-precondition');
  cluster.managers.splice(cluster.managers.indexOf(gone), 1);
  const fresh = await cluster.join();
  await leader.consensus.propose(word('welcome'));
  await fresh.consensus.readBarrier();
  t.is(fresh.words.text(), 'welcome');
  await other.consensus.close();
  await leader.consensus.propose(word('two of three'));
  t.is(
    await codeOf(
      (async () => {
        await until('it is seen as gone', () =>
          leader.consensus
            .status()
            .members.some(({ member, active }) => member.raftId === other.member.raftId && !active),
        );
        await leader.consensus.removeMember(fresh.member.raftId);
      })(),
    ),
    'failed-precondition',
    'those left would be no majority',
  );
});

test('a member that was down when it was removed learns it when it comes back', async (t) => {
  const cluster = await TestCluster.create();
  t.context = { cluster };
  await cluster.grow(3);
  const leader = await cluster.leader();
  const [gone] = cluster.followers();
  if (gone === undefined) return t.fail();
  await gone.consensus.close();
  await leader.consensus.removeMember(gone.member.raftId);
  const back = await cluster.start(gone.member, { kind: 'restart' });
  await until('it knows', () => back.consensus.status().removed === true);
  t.pass();
});

test('certificates are renewed while members talk', async (t) => {
  const cluster = await TestCluster.create();
  t.context = { cluster };
  await cluster.grow(2);
  for (const { identity, member } of cluster.managers) {
    identity.replace(issueIdentity(cluster.ca, member.nodeId));
  }
  await Promise.all(cluster.managers.map((one) => cluster.restart(one)));
  const leader = await cluster.leader();
  t.is(typeof (await leader.consensus.propose(word('still here'))), 'number');
});

test('status listeners hear the last state first and every change of leadership', async (t) => {
  const cluster = await TestCluster.create();
  t.context = { cluster };
  await cluster.grow(2);
  const leader = await cluster.leader();
  const seen: boolean[] = [];
  leader.consensus.onStatus(({ isLeader }) => seen.push(isLeader));
  t.deepEqual(seen, [true]);
  await leader.consensus.transferLeadership();
  await until('it no longer leads', () => !leader.consensus.status().isLeader);
  t.is(seen.at(-1), false);
});
