import test from 'ava';
import { backup } from '../../../manager/control/backup.ts';
import { restoredObjects } from '../../../manager/control/restored.ts';
import { Store } from '../../../manager/store/store.ts';
import type { BackupMessage } from '../../../shared/gen/shoal/v1/control.ts';
import { Cluster, NodeRole, NodeState } from '../../../shared/gen/shoal/v1/objects.ts';
import { StoreTransaction } from '../../../shared/gen/shoal/v1/store.ts';
import { nodeFixture, serviceFixture } from '../../support/objects.ts';
import { storeFixture } from '../../support/store.ts';

const START = { nodeId: 'new', advertiseAddress: 'new:2377', raftAdvertiseAddress: 'new:7946' };

async function setUp() {
  const managerStatus = { raftId: 'r1', address: 'm1:2377', raftAddress: 'm1:7946' };
  const fixture = await storeFixture({
    cluster: [
      Cluster.fromPartial({
        id: 'c1',
        rootCa: { certificatePem: 'root', keyPem: 'key', workerSecret: 'w', managerSecret: 'm' },
      }),
    ],
    node: [
      nodeFixture({ id: 'm1', spec: { role: NodeRole.MANAGER }, managerStatus }),
      nodeFixture({ id: 'w1', spec: { role: NodeRole.WORKER, labels: { zone: 'a' } } }),
    ],
    service: [serviceFixture({ id: 's1' })],
  });
  return fixture;
}

async function collect(messages: AsyncIterable<BackupMessage>) {
  const chunks: Uint8Array[] = [];
  let header: Extract<BackupMessage['message'], { $case: 'header' }>['value'] | undefined;
  for await (const { message } of messages) {
    if (message?.$case === 'header') header = message.value;
    if (message?.$case === 'chunk') chunks.push(message.value);
  }
  if (header === undefined) throw new Error('no header');
  return { header, chunks };
}

test('a backup is of one index, whatever is written while it is taken', async (t) => {
  const the = await setUp();
  const messages = backup(the, new AbortController().signal)[Symbol.asyncIterator]();
  const first = await messages.next();
  const indexThen = the.store.index;
  await the.writer.write([
    {
      action: {
        $case: 'create',
        value: { kind: { $case: 'node', value: nodeFixture({ id: 'late' }) } },
      },
    },
  ]);
  async function* all(): AsyncGenerator<BackupMessage> {
    for (let next = first; !next.done; next = await messages.next()) yield next.value;
  }
  const { header, chunks } = await collect(all());
  t.like(header, { format: 1, clusterId: 'c1', index: indexThen, objects: 4, rootKeyPem: 'key' });
  const restored = new Store();
  restored.restore(header.index, chunks);
  t.is(restored.get('node', 'late'), undefined);
  t.deepEqual(restored.get('service', 's1'), the.store.get('service', 's1'));
});

test('after a restore the nodes of before are down workers, and one new manager has it all', async (t) => {
  const the = await setUp();
  const { header, chunks } = await collect(backup(the, new AbortController().signal));
  const restored = new Store();
  restored.restore(header.index, chunks);
  const actions = restoredObjects(restored, START, 'raft-new', 'host-new');
  const outcomes: string[] = [];
  restored.onOutcome((_id, outcome) => outcomes.push(outcome.kind));
  const transaction = StoreTransaction.fromPartial({ id: 't', atMs: 1, actions });
  restored.apply(header.index + 1, StoreTransaction.encode(transaction).finish());
  t.deepEqual(outcomes, ['applied']);
  for (const id of ['m1', 'w1']) {
    const node = restored.get('node', id);
    t.is(node?.spec?.role, NodeRole.WORKER);
    t.is(node?.status?.state, NodeState.DOWN);
    t.is(node?.managerStatus, undefined);
  }
  t.deepEqual(
    restored.get('node', 'w1')?.spec?.labels,
    { zone: 'a' },
    'what an operator set stays',
  );
  t.like(restored.get('node', 'new'), {
    managerStatus: { raftId: 'raft-new', address: 'new:2377' },
    description: { hostname: 'host-new' },
  });
  t.is(restored.cluster()?.rootCa?.workerSecret, 'w', 'old join tokens are good');
});
