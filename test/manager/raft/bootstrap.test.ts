import test from 'ava';
import { forcedBatch } from '../../../manager/raft/bootstrap.ts';
import { changeConf, EMPTY_CONF, isJoint, members } from '../../../manager/raft/conf-change.ts';
import { decodeConfChange, encodeConfChange } from '../../../manager/raft/conf-codec.ts';
import type { LoadedState } from '../../../manager/raft/durable-log.ts';
import { idOf, MemberBook } from '../../../manager/raft/members.ts';
import type { ConfChange, ConfState, ConfTransition, Entry } from '../../../manager/raft/types.ts';
import type { RaftMember } from '../../../shared/gen/shoal/v1/peer.ts';
import { entry, raftId } from './group.ts';

const self: RaftMember = {
  raftId: raftId('a'),
  nodeId: 'node-a',
  address: 'new:2377',
  raftAddress: 'new:7946',
};
const conf = (voters: string, more: Partial<ConfState> = {}): ConfState => ({
  ...EMPTY_CONF,
  voters: [...voters].map(raftId),
  ...more,
});
const changed = (index: number, term: number, change: ConfTransition): Entry => ({
  index,
  term,
  type: 'conf-change',
  data: encodeConfChange(change),
});

function loaded(
  confState: ConfState,
  entries: readonly Entry[],
  commit: number,
  term = 3,
): LoadedState {
  return {
    hardState: { term, vote: raftId('b'), commit },
    snapshot: { index: 1, term: 1, confState },
    entries,
    compacted: { index: 1, term: 1 },
  };
}

/** As a node applies them at its start. */
function apply(state: LoadedState, confState: ConfState) {
  const batch = forcedBatch(state, self);
  const first = batch.entries[0]?.index ?? 0;
  const kept = state.entries.filter(({ index }) => index < first);
  const book = new MemberBook();
  book.reset(1, confState, { members: [], removed: [] });
  let now = confState;
  for (const one of [...kept, ...batch.entries]) {
    if (one.type !== 'conf-change') continue;
    now = changeConf(now, decodeConfChange(one.data));
    book.apply(one, now);
  }
  return { batch, kept, conf: now, book };
}

const STARTS: readonly [string, ConfState, entries: readonly Entry[], commit: number][] = [
  ['one of three voters', conf('abc'), [entry(2, 2), entry(3, 3)], 3],
  ['the only member', conf('a'), [entry(2, 2)], 2],
  ['a learner', conf('bc', { learners: [raftId('a')] }), [entry(2, 2)], 2],
  ['nothing after the snapshot', conf('abc'), [], 1],
  ['a commit that was never written down', conf('abc'), [], 0],
  [
    'in the middle of a joint change',
    conf('abd', { votersOutgoing: ['a', 'b', 'c'].map(raftId), autoLeave: true }),
    [entry(2, 2)],
    2,
  ],
  [
    'a member that a committed entry added',
    conf('ab'),
    [changed(2, 2, { kind: 'add-learner', id: raftId('d'), context: new Uint8Array(0) })],
    2,
  ],
];

for (const [title, confState, entries, commit] of STARTS) {
  test(`forcedBatch() leaves one voter, whoever there was: ${title}`, (t) => {
    const state = loaded(confState, entries, commit);
    const { batch, conf: after, book } = apply(state, confState);
    t.deepEqual(after, conf('a'));
    t.false(isJoint(after));
    t.deepEqual(book.get(idOf(self)), self, 'the address it has now');
    const others = new Set(members(confState).filter((id) => id !== raftId('a')));
    for (const id of others) t.true(book.wasRemoved(id), `${id} is told when it comes back`);
    t.is(batch.hardState?.commit, batch.entries.at(-1)?.index, 'all of it is committed');
  });
}

test('forcedBatch() keeps the end of the log, acknowledged as it may be, and begins a term of its own', (t) => {
  const tail = [2, 3, 4, 5].map((index) => entry(index, 3));
  const { batch, kept } = apply(loaded(conf('abc'), tail, 3), conf('abc'));
  t.deepEqual(
    kept.map(({ index }) => index),
    [2, 3, 4, 5],
  );
  t.deepEqual(
    batch.entries.map(({ index, term }) => [index, term]),
    [
      [6, 4],
      [7, 4],
      [8, 4],
    ],
  );
  t.deepEqual(batch.hardState, { term: 4, vote: undefined, commit: 8 });
});

const none = new Uint8Array(0);

test('forcedBatch() begins with the members that the end of the log leaves, committed or not', (t) => {
  const added = changed(2, 3, { kind: 'add-learner', id: raftId('d'), context: none });
  const changes: ConfChange[] = [
    { kind: 'remove', id: raftId('c'), context: none },
    { kind: 'add-voter', id: raftId('d'), context: none },
  ];
  const joint = changed(3, 3, { kind: 'enter-joint', changes, autoLeave: true });
  const { conf: after, kept, book } = apply(loaded(conf('abc'), [added, joint], 1), conf('abc'));
  t.is(kept.length, 2);
  t.deepEqual(after, conf('a'));
  for (const name of 'bcd') t.true(book.wasRemoved(raftId(name)), name);
});

for (const [title, change] of [
  ['simple', { kind: 'remove', id: raftId('a'), context: none }],
  [
    'joint',
    {
      kind: 'enter-joint',
      changes: [{ kind: 'remove', id: raftId('a'), context: none }],
      autoLeave: true,
    },
  ],
] as const) {
  test(`forcedBatch() lets nobody be taken out by a ${title} change that was not agreed to`, (t) => {
    const tail = [entry(2, 3), changed(3, 3, change), entry(4, 3)];
    const { kept, conf: after, book } = apply(loaded(conf('abc'), tail, 2), conf('abc'));
    t.deepEqual(
      kept.map(({ index }) => index),
      [2],
    );
    t.deepEqual(after, conf('a'));
    t.false(book.wasRemoved(raftId('a')));
  });
}

test('forcedBatch() follows a log that is nothing but its snapshot', (t) => {
  const { batch } = apply(loaded(conf('a'), [], 0), conf('a'));
  t.is(batch.entries[0]?.index, 2);
});
