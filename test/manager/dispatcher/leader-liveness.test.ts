import test from 'ava';
import { LeaderLiveness } from '../../../manager/dispatcher/leader-liveness.ts';
import { createAction, updateAction } from '../../../manager/store/tables.ts';
import { NotLeaderError } from '../../../shared/errors.ts';
import { NodeAvailability, NodeState } from '../../../shared/gen/shoal/v1/objects.ts';
import { LivenessDigest } from '../../../shared/gen/shoal/v1/peer.ts';
import { silentLog } from '../../../shared/log.ts';
import { settle } from '../../support/manual-clock.ts';
import { clusterFixture, nodeFixture } from '../../support/objects.ts';
import { storeFixture } from '../../support/store.ts';

function digest(silent: Record<string, number>, appliedRevision = 7) {
  return LivenessDigest.fromPartial({
    managerId: 'm1',
    sessions: Object.entries(silent).map(([nodeId, silentMs]) => ({
      nodeId,
      silentMs,
      address: '10.0.0.9',
      appliedRevision,
    })),
  });
}

async function setUp(ids: readonly string[], state: NodeState = NodeState.UNKNOWN) {
  const fixture = await storeFixture({
    cluster: [clusterFixture()],
    node: ids.map((id) => nodeFixture({ id, status: { state, address: '10.0.0.9' } })),
  });
  const liveness = new LeaderLiveness({ ...fixture, log: silentLog });
  const stop = new AbortController();
  const end = liveness.run(stop.signal);
  await settle();
  const states = () =>
    ids.map((id) => fixture.store.get('node', id)?.status?.state ?? NodeState.UNKNOWN);
  return { ...fixture, liveness, stop, end, states };
}

test('many nodes become ready in one write, and nothing is written while nothing changes', async (t) => {
  const the = await setUp(['n1', 'n2', 'n3']);
  const before = the.store.index;
  the.liveness.report(digest({ n1: 0, n2: 0, n3: 0 }));
  await settle();
  t.deepEqual(the.states(), Array(3).fill(NodeState.READY));
  t.is(the.store.index, before + 1);
  for (let i = 0; i < 10; i++) {
    await the.clock.advance(500);
    the.liveness.report(digest({ n1: 100, n2: 100, n3: 100 }));
  }
  await settle();
  t.is(the.store.index, before + 1);
  t.is(the.liveness.appliedRevision('n1'), 7);
});

test('nodes that fall silent together go down at their deadline, in one write', async (t) => {
  const the = await setUp(['n1', 'n2'], NodeState.READY);
  the.liveness.report(digest({ n1: 0, n2: 0 }));
  for (let ms = 500; ms <= 2_500; ms += 500) {
    await the.clock.advance(500);
    the.liveness.report(digest({ n1: ms, n2: ms }));
  }
  const before = the.store.index;
  await the.clock.advance(499);
  t.deepEqual(the.states(), [NodeState.READY, NodeState.READY]);
  await the.clock.advance(2);
  t.deepEqual(the.states(), [NodeState.DOWN, NodeState.DOWN]);
  t.is(the.store.index, before + 1);
});

test('a write that lost against another is decided again, and keeps what the other wrote', async (t) => {
  const the = await setUp(['n1']);
  const write = the.writer.write.bind(the.writer);
  let isFirst = true;
  the.writer.write = async (actions, signal) => {
    const node = the.store.get('node', 'n1');
    if (isFirst && node?.spec !== undefined) {
      isFirst = false;
      const spec = { ...node.spec, availability: NodeAvailability.DRAIN };
      await write([updateAction('node', { ...node, spec })]);
    }
    return write(actions, signal);
  };
  the.liveness.report(digest({ n1: 0 }));
  await the.clock.advance(200);
  t.like(the.store.get('node', 'n1'), {
    spec: { availability: NodeAvailability.DRAIN },
    status: { state: NodeState.READY },
  });
});

test('digests are taken while it runs, and not before or after', async (t) => {
  const the = await setUp(['n1']);
  the.stop.abort();
  await the.end;
  t.throws(() => the.liveness.report(digest({ n1: 0 })), { instanceOf: NotLeaderError });
  t.is(the.clock.timers, 0, 'no timer is left');
});

test('a node that is made later gets its time from then on', async (t) => {
  const the = await setUp([]);
  await the.clock.advance(60_000);
  await the.writer.write([
    createAction('node', nodeFixture({ id: 'late', status: { state: NodeState.UNKNOWN } })),
  ]);
  await the.clock.advance(2_900);
  t.is(the.store.get('node', 'late')?.status?.state, NodeState.UNKNOWN);
  await the.clock.advance(200);
  t.is(the.store.get('node', 'late')?.status?.state, NodeState.DOWN);
});

/** Waits for the nodes to be at the store's index; `outcome` says how it went as soon as it is known. */
function awaitAll(the: Awaited<ReturnType<typeof setUp>>, ids: readonly string[], ahead = 0) {
  const seen: { outcome: string | undefined } = { outcome: undefined };
  const signal = new AbortController().signal;
  the.liveness
    .awaitApplied(the.store.index + ahead, () => ids, 1_800, signal)
    .then(
      ({ behind }) => {
        seen.outcome = behind.join() || 'all';
      },
      (error: unknown) => {
        seen.outcome = error instanceof NotLeaderError ? 'not leader' : String(error);
      },
    );
  return seen;
}

test('a wait ends when the last of the nodes shows the revision', async (t) => {
  const the = await setUp(['n1', 'n2', 'n3'], NodeState.READY);
  the.liveness.report(digest({ n1: 0, n2: 0 }, the.store.index));
  const wait = awaitAll(the, ['n1', 'n2', 'n3']);
  await settle();
  t.is(wait.outcome, undefined, 'of the third nothing is known');
  the.liveness.report(digest({ n3: 0 }, the.store.index - 1));
  await settle();
  t.is(wait.outcome, undefined);
  the.liveness.report(digest({ n3: 0 }, the.store.index));
  await settle();
  t.is(wait.outcome, 'all');
  const next = awaitAll(the, ['n1', 'n2']);
  await settle();
  t.is(next.outcome, 'all', 'what is known needs no wait');
});

test('nobody waits for a node that is down, or goes down meanwhile', async (t) => {
  const the = await setUp(['n1', 'n2'], NodeState.READY);
  const report = (silentMs: number) => the.liveness.report(digest({ n1: silentMs }, 1_000));
  for (let ms = 0; ms < 2_500; ms += 500) {
    report(0);
    await the.clock.advance(500);
  }
  const wait = awaitAll(the, ['n1', 'n2']);
  await settle();
  t.is(wait.outcome, undefined);
  await the.clock.advance(600);
  t.is(the.states()[1], NodeState.DOWN);
  t.is(wait.outcome, 'all');
  report(0);
  const next = awaitAll(the, ['n1', 'n2']);
  await settle();
  t.is(next.outcome, 'all');
});

test('a wait is over after its time, and the node behind is not waited for again until it is there', async (t) => {
  const the = await setUp(['n1', 'n2'], NodeState.READY);
  const stillAlive = async (ms: number) => {
    for (let at = 0; at < ms; at += 100) {
      the.liveness.report(digest({ n1: 0 }, the.store.index));
      the.liveness.report(digest({ n2: 0 }, 1));
      await the.clock.advance(100);
    }
  };
  const wait = awaitAll(the, ['n1', 'n2']);
  await stillAlive(1_700);
  t.is(wait.outcome, undefined);
  await stillAlive(200);
  t.is(wait.outcome, 'n2');
  const second = awaitAll(the, ['n1', 'n2']);
  await settle();
  t.is(second.outcome, 'all');
  the.liveness.report(digest({ n2: 0 }, the.store.index));
  await the.writer.write([
    createAction('node', nodeFixture({ id: 'n4', status: { state: NodeState.READY } })),
  ]);
  the.liveness.report(digest({ n1: 0 }, the.store.index));
  const third = awaitAll(the, ['n1', 'n2']);
  await settle();
  t.is(third.outcome, undefined, 'it had caught up, so it counts again');
});

test('a wait for a revision that this replica has not seen begins when it has', async (t) => {
  const the = await setUp(['n1'], NodeState.READY);
  the.liveness.report(digest({ n1: 0 }, the.store.index));
  const wait = awaitAll(the, ['n1'], 1);
  await settle();
  t.is(wait.outcome, undefined);
  await the.writer.write([createAction('node', nodeFixture({ id: 'late' }))]);
  the.liveness.report(digest({ n1: 0 }, the.store.index));
  await settle();
  t.is(wait.outcome, 'all');
});

test('the end of leadership ends the waits', async (t) => {
  const the = await setUp(['n1'], NodeState.READY);
  const wait = awaitAll(the, ['n1']);
  the.stop.abort();
  await the.end;
  await settle();
  t.is(wait.outcome, 'not leader');
  t.is(awaitAll(the, ['n1']).outcome, undefined);
  t.is(the.clock.timers, 0, 'no timer is left');
});
