import test from 'ava';
import { Liveness } from '../../../manager/dispatcher/liveness.ts';
import { Store } from '../../../manager/store/store.ts';
import { createAction } from '../../../manager/store/tables.ts';
import { NodeState } from '../../../shared/gen/shoal/v1/objects.ts';
import { LivenessDigest } from '../../../shared/gen/shoal/v1/peer.ts';
import { nodeFixture } from '../../support/objects.ts';
import { applyDirect } from '../../support/store.ts';

const PERIOD_MS = 1_000;

function storeOf(states: Record<string, NodeState>) {
  const store = new Store();
  applyDirect(
    store,
    Object.entries(states).map(([id, state]) =>
      createAction('node', nodeFixture({ id, status: { state, address: '10.0.0.1' } })),
    ),
  );
  return store;
}

function digest(managerId: string, silent: Record<string, number>, departed: string[] = []) {
  return LivenessDigest.fromPartial({
    managerId,
    departed,
    sessions: Object.entries(silent).map(([nodeId, silentMs]) => ({
      nodeId,
      silentMs,
      address: '10.0.0.1',
    })),
  });
}

/** What is decided at `atMs`, as "node STATE" words. */
function verdict(liveness: Liveness, store: Store, atMs: number): string[] {
  const names = new Map(Object.entries(NodeState).map(([name, value]) => [value, name]));
  return liveness
    .decide(store, PERIOD_MS, atMs)
    .changes.map(({ nodeId, status }) => `${nodeId} ${names.get(status.state)}`);
}

type Event = Readonly<{ atMs: number; digest: LivenessDigest }>;
type Row = Readonly<{
  title: string;
  state: NodeState;
  events: readonly Event[];
  /** Time, and what is decided then. */
  expect: readonly (readonly [number, readonly string[]])[];
}>;

const every500 = (
  managerId: string,
  fromMs: number,
  toMs: number,
  silentAt: (t: number) => number,
) =>
  Array.from({ length: Math.floor((toMs - fromMs) / 500) + 1 }, (_, i): Event => {
    const atMs = fromMs + i * 500;
    return { atMs, digest: digest(managerId, { n1: silentAt(atMs) }) };
  });

const ROWS: readonly Row[] = [
  {
    title: 'a node that is heard of becomes ready',
    state: NodeState.UNKNOWN,
    events: [{ atMs: 100, digest: digest('m1', { n1: 0 }) }],
    expect: [[100, ['n1 READY']]],
  },
  {
    title: 'a ready node that is heard of stays as it is',
    state: NodeState.READY,
    events: [{ atMs: 100, digest: digest('m1', { n1: 0 }) }],
    expect: [[100, []]],
  },
  {
    title: 'a node whose silence grows is down after three periods',
    state: NodeState.READY,
    events: every500('m1', 0, 4_000, (atMs) => atMs),
    expect: [
      [2_999, []],
      [3_000, ['n1 DOWN']],
    ],
  },
  {
    title: 'a node that beats in the third period lives on',
    state: NodeState.READY,
    events: every500('m1', 0, 5_000, (atMs) => (atMs < 2_900 ? atMs : atMs - 2_900)),
    expect: [
      [3_000, []],
      [5_000, []],
    ],
  },
  {
    title: 'a new leader gives every node the full time from its own start on',
    state: NodeState.READY,
    events: [{ atMs: 10_000, digest: digest('m1', {}) }],
    expect: [
      [10_000, []],
      [12_999, []],
      [13_000, ['n1 DOWN']],
    ],
  },
  {
    title: 'silence from before the new leader does not count',
    state: NodeState.READY,
    events: every500('m1', 10_000, 13_000, (atMs) => atMs - 7_500),
    expect: [
      [10_000, []],
      [12_900, []],
      [13_000, ['n1 DOWN']],
    ],
  },
  {
    title: 'a node that was down stays down until it is heard, a stale session is no sign',
    state: NodeState.DOWN,
    events: [{ atMs: 0, digest: digest('m1', { n1: 8_000 }) }],
    expect: [
      [0, []],
      [2_000, []],
    ],
  },
  {
    title: 'a node that was down is ready when it is heard again',
    state: NodeState.DOWN,
    events: [{ atMs: 500, digest: digest('m1', { n1: 20 }) }],
    expect: [[500, ['n1 READY']]],
  },
  {
    title: 'a node gets its time from the last digest, and a period more, when its manager dies',
    state: NodeState.READY,
    events: every500('m1', 0, 2_000, () => 900),
    expect: [
      [4_200, []],
      [5_999, []],
      [6_000, ['n1 DOWN']],
    ],
  },
  {
    title: 'a node that moved to another manager in time does not notice that its first one died',
    state: NodeState.READY,
    events: [...every500('m1', 0, 2_000, () => 900), ...every500('m2', 3_900, 8_000, () => 100)],
    expect: [
      [4_000, []],
      [8_000, []],
    ],
  },
  {
    title: 'a manager that names a stale session of a node does not hide that it lives elsewhere',
    state: NodeState.READY,
    events: Array.from({ length: 12 }, (_, i) => [
      { atMs: i * 500, digest: digest('m2', { n1: 100 }) },
      { atMs: i * 500 + 10, digest: digest('m1', { n1: i * 500 + 3_000 }) },
    ]).flat(),
    expect: [
      [3_400, []],
      [5_600, []],
    ],
  },
  {
    title: 'a node that says goodbye is down at once, and not twice',
    state: NodeState.READY,
    events: [
      { atMs: 0, digest: digest('m1', { n1: 0 }) },
      { atMs: 300, digest: digest('m1', {}, ['n1']) },
    ],
    expect: [
      [100, []],
      [300, ['n1 DOWN']],
    ],
  },
  {
    title: 'what was heard before a goodbye does not undo it',
    state: NodeState.READY,
    events: [
      { atMs: 300, digest: digest('m1', {}, ['n1']) },
      { atMs: 400, digest: digest('m2', { n1: 150 }) },
    ],
    expect: [[400, ['n1 DOWN']]],
  },
  {
    title: 'a node that comes back after its goodbye is ready',
    state: NodeState.DOWN,
    events: [
      { atMs: 300, digest: digest('m1', {}, ['n1']) },
      { atMs: 900, digest: digest('m2', { n1: 100 }) },
    ],
    expect: [[900, ['n1 READY']]],
  },
];

for (const row of ROWS) {
  test(row.title, (t) => {
    const store = storeOf({ n1: row.state });
    const liveness = new Liveness();
    const startMs = row.events[0]?.atMs ?? 0;
    t.deepEqual(verdict(new Liveness(), store, startMs), [], 'nothing is decided from nothing');
    const pending = [...row.events];
    for (const [atMs, expected] of row.expect) {
      while (pending[0] !== undefined && pending[0].atMs <= atMs) {
        const event = pending.shift();
        if (event !== undefined) liveness.digest(event.digest, store, event.atMs);
        if (event !== undefined && event.atMs < atMs) liveness.decide(store, PERIOD_MS, event.atMs);
      }
      t.deepEqual(verdict(liveness, store, atMs), [...expected], `at ${atMs} ms`);
    }
  });
}

test('a manager’s own host is down in the plain time: it went silent with its manager', (t) => {
  const store = storeOf({ m1: NodeState.READY, n1: NodeState.READY });
  const liveness = new Liveness();
  liveness.digest(digest('m1', { m1: 0, n1: 0 }), store, 0);
  t.deepEqual(verdict(liveness, store, 2_999), []);
  t.deepEqual(verdict(liveness, store, 3_000), ['m1 DOWN']);
  t.deepEqual(verdict(liveness, store, 4_000).sort(), ['m1 DOWN', 'n1 DOWN']);
});

test('a node that was made long after the leader began has the full time from then on', (t) => {
  const store = storeOf({});
  const liveness = new Liveness();
  liveness.decide(store, PERIOD_MS, 0);
  applyDirect(store, [
    createAction('node', nodeFixture({ id: 'n9', status: { state: NodeState.UNKNOWN } })),
  ]);
  t.deepEqual(verdict(liveness, store, 60_000), []);
  t.deepEqual(verdict(liveness, store, 62_999), []);
  t.deepEqual(verdict(liveness, store, 63_000), ['n9 DOWN']);
});

test('decide() says when to look again: at the first deadline', (t) => {
  const store = storeOf({ n1: NodeState.READY, n2: NodeState.READY });
  const liveness = new Liveness();
  liveness.digest(digest('m1', { n1: 400, n2: 0 }), store, 1_000);
  liveness.decide(store, PERIOD_MS, 1_000);
  liveness.digest(digest('m1', { n1: 400, n2: 0 }), store, 2_000);
  t.is(liveness.decide(store, PERIOD_MS, 2_000).nextCheckMs, 4_600);
});

test('a description is written when it differs, and only then', (t) => {
  const store = storeOf({ n1: NodeState.READY });
  const liveness = new Liveness();
  const same = store.get('node', 'n1')?.description;
  const told = digest('m1', { n1: 0 });
  const [session] = told.sessions;
  if (session === undefined || same === undefined) throw new Error('no session');
  session.description = { ...same };
  liveness.digest(told, store, 0);
  t.deepEqual(liveness.decide(store, PERIOD_MS, 0).changes, []);
  session.description = { ...same, engineVersion: '99' };
  t.true(liveness.digest(told, store, 500));
  t.is(liveness.decide(store, PERIOD_MS, 500).changes[0]?.description?.engineVersion, '99');
});

test('digest() is news only when it can change what is decided', (t) => {
  const store = storeOf({ n1: NodeState.READY, n2: NodeState.DOWN });
  const liveness = new Liveness();
  t.false(liveness.digest(digest('m1', { n1: 0 }), store, 0));
  t.true(liveness.digest(digest('m1', { n2: 0 }), store, 0));
  t.true(liveness.digest(digest('m1', {}, ['n1']), store, 0));
});

test('the down message names the host and its silence', (t) => {
  const store = storeOf({ n1: NodeState.READY });
  const liveness = new Liveness();
  liveness.digest(digest('m1', { n1: 0 }), store, 0);
  liveness.digest(digest('m1', { n1: 3_000 }), store, 3_000);
  const [change] = liveness.decide(store, PERIOD_MS, 3_000).changes;
  t.is(change?.status.message, 'heartbeat failure for node host-n1: not heard for 3000 ms');
});

test('what a node says by its session is not lost to a manager that vouches for it', (t) => {
  const store = storeOf({ n1: NodeState.READY });
  const liveness = new Liveness();
  const vouch = (atMs: number) =>
    liveness.digest(
      LivenessDigest.fromPartial({
        managerId: 'n1',
        sessions: [{ nodeId: 'n1', address: '10.0.0.1', vouched: true }],
      }),
      store,
      atMs,
    );
  const says = (hostname: string, atMs: number) =>
    liveness.digest(
      LivenessDigest.fromPartial({
        managerId: 'm2',
        sessions: [{ nodeId: 'n1', address: '10.0.0.1', silentMs: 200, description: { hostname } }],
      }),
      store,
      atMs,
    );
  const decided = (atMs: number) =>
    liveness.decide(store, PERIOD_MS, atMs).changes.map((change) => change.description?.hostname);
  vouch(0);
  t.true(says('first', 100));
  t.deepEqual(decided(100), ['first']);
  vouch(500);
  t.true(says('second', 600));
  t.deepEqual(decided(600), ['second']);
});
