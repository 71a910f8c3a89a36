/** Arithmetic of joint configurations, against what the definition says and over random walks. */
import test from 'ava';
import fc from 'fast-check';
import {
  changeConf,
  EMPTY_CONF,
  isJoint,
  isMember,
  isVoter,
  members,
} from '../../../manager/raft/conf-change.ts';
import { quorumReached, voteResult } from '../../../manager/raft/quorum.ts';
import type {
  ConfChange,
  ConfState,
  ConfTransition,
  EnterJoint,
  RaftId,
} from '../../../manager/raft/types.ts';
import { change, raftId } from './group.ts';

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'];
const IDS = NAMES.map(raftId);
const KINDS: readonly ConfChange['kind'][] = ['add-voter', 'add-learner', 'remove'];
const LEAVE = { kind: 'leave-joint' } as const;
const oneChange = fc
  .record({ kind: fc.constantFrom(...KINDS), name: fc.constantFrom(...NAMES) })
  .map(({ kind, name }) => change(kind, name));
const enterJoint: fc.Arbitrary<EnterJoint> = fc.record({
  kind: fc.constant('enter-joint' as const),
  changes: fc.uniqueArray(oneChange, { maxLength: 5, selector: ({ id }) => id }),
  autoLeave: fc.boolean(),
});
const anyTransition: fc.Arbitrary<ConfTransition> = fc.oneof(
  oneChange,
  enterJoint,
  fc.constant(LEAVE),
);

function conf(voters: string, learners = '', joint: Partial<ConfState> = {}): ConfState {
  return { ...EMPTY_CONF, voters: ids(voters), learners: ids(learners), ...joint };
}
function ids(names: string): RaftId[] {
  return [...names].map(raftId);
}
function enter(...changes: ConfChange[]): EnterJoint {
  return { kind: 'enter-joint', changes, autoLeave: true };
}

const table: [what: string, before: ConfState, EnterJoint, during: ConfState, after: ConfState][] =
  [
    [
      'two voters join at once',
      conf('a'),
      enter(change('add-voter', 'b'), change('add-voter', 'c')),
      conf('abc', '', { votersOutgoing: ids('a'), autoLeave: true }),
      conf('abc'),
    ],
    [
      'one voter takes the place of another',
      conf('abc'),
      enter(change('remove', 'a'), change('add-voter', 'd')),
      conf('bcd', '', { votersOutgoing: ids('abc'), autoLeave: true }),
      conf('bcd'),
    ],
    [
      'the only voter is replaced',
      conf('a', 'b'),
      enter(change('remove', 'a'), change('add-voter', 'b')),
      conf('b', '', { votersOutgoing: ids('a'), autoLeave: true }),
      conf('b'),
    ],
    [
      'a demoted voter becomes a learner only at the end',
      conf('abc'),
      enter(change('add-learner', 'c'), change('add-learner', 'd')),
      conf('ab', 'd', { votersOutgoing: ids('abc'), learnersNext: ids('c'), autoLeave: true }),
      conf('ab', 'dc'),
    ],
    [
      'a learner goes at once, having no vote',
      conf('ab', 'c'),
      enter(change('remove', 'c'), change('add-voter', 'd')),
      conf('abd', '', { votersOutgoing: ids('ab'), autoLeave: true }),
      conf('abd'),
    ],
  ];
for (const [what, before, made, during, after] of table) {
  test(`into a joint configuration and out: ${what}`, (t) => {
    const joint = changeConf(before, made);
    t.deepEqual(joint, during);
    t.deepEqual(changeConf(joint, LEAVE), after);
  });
}

const joint = conf('bc', '', { votersOutgoing: ids('ab') });
const refused: [what: string, ConfState, ConfTransition][] = [
  ['a simple change while joint', joint, change('add-voter', 'd')],
  ['a second joint change while joint', joint, enter(change('add-voter', 'd'))],
  ['leaving what is not joint', conf('ab'), LEAVE],
  ['leaving no voter', conf('ab'), enter(change('remove', 'a'), change('add-learner', 'b'))],
  [
    'naming a member twice',
    conf('ab'),
    enter(change('add-voter', 'c'), change('add-learner', 'c')),
  ],
  ['changing nothing', conf('ab', 'c'), enter(change('add-voter', 'a'), change('remove', 'z'))],
  ['an empty list', conf('ab'), enter()],
  ['joint changes before there is any voter', EMPTY_CONF, enter(change('add-voter', 'a'))],
];
for (const [what, before, made] of refused) {
  test(`the configuration stays as it is for ${what}`, (t) => {
    t.is(changeConf(before, made), before);
  });
}

test('any walk keeps voters, keeps voters and learners apart, and joint parts within joint', (t) => {
  fc.assert(
    fc.property(fc.array(anyTransition, { maxLength: 40 }), (walk) => {
      let current = conf('a');
      for (const made of walk) {
        const next = changeConf(current, made);
        t.true(next.voters.length > 0);
        t.deepEqual(
          next.learners.filter((id) => isVoter(next, id)),
          [],
        );
        t.true(next.learnersNext.every((id) => next.votersOutgoing.includes(id)));
        t.deepEqual(
          next.learnersNext.filter((id) => next.voters.includes(id)),
          [],
        );
        if (!isJoint(next)) t.deepEqual([next.learnersNext, next.autoLeave], [[], false]);
        for (const list of [next.voters, next.learners, next.votersOutgoing, next.learnersNext]) {
          t.is(new Set(list).size, list.length);
        }
        if (!isJoint(current) && !isJoint(next)) t.true(votersMoved(current, next) <= 1);
        if (isJoint(next) && !isJoint(current)) t.deepEqual(next.votersOutgoing, current.voters);
        current = next;
      }
    }),
  );
});

test('entering and leaving ends where the changes made one after another would', (t) => {
  fc.assert(
    fc.property(
      fc.subarray(IDS, { minLength: 1 }),
      fc.subarray(IDS),
      enterJoint,
      (voters, others, made) => {
        const learners = others.filter((id) => !voters.includes(id));
        const before: ConfState = { ...EMPTY_CONF, voters, learners };
        const entered = changeConf(before, made);
        // The plain meaning, by sets.
        const wantVoters = new Set(voters);
        const wantLearners = new Set(learners);
        for (const { kind, id } of made.changes) {
          wantVoters.delete(id);
          wantLearners.delete(id);
          if (kind === 'add-voter') wantVoters.add(id);
          if (kind === 'add-learner') wantLearners.add(id);
        }
        if (entered === before) {
          const same =
            equalSets(wantVoters, new Set(voters)) && equalSets(wantLearners, new Set(learners));
          t.true(wantVoters.size === 0 || same, 'refused without need');
          return;
        }
        const after = changeConf(entered, LEAVE);
        t.true(equalSets(new Set(after.voters), wantVoters));
        t.true(equalSets(new Set(after.learners), wantLearners));
        t.true(
          members(before)
            .filter((id) => voters.includes(id))
            .every((id) => isMember(entered, id)),
          'nobody who votes goes before the configuration is left',
        );
      },
    ),
  );
});

/** All subsets of a small set, as quorums are sets that decide alone. */
function* subsets(all: readonly RaftId[]): Generator<Set<RaftId>> {
  for (let bits = 0; bits < 2 ** all.length; bits++) {
    yield new Set(all.filter((_, i) => (bits >> i) & 1));
  }
}

test('along any walk, a quorum of one configuration meets every quorum of the next', (t) => {
  fc.assert(
    fc.property(fc.array(anyTransition, { maxLength: 8 }), (walk) => {
      let current = conf('abc');
      for (const made of walk) {
        const next = changeConf(current, made);
        if (next !== current) {
          const quorumsOf = (of: ConfState) =>
            [...subsets(IDS)].filter((set) => decides(of, set) && minimal(of, set));
          const nextQuorums = quorumsOf(next);
          for (const one of quorumsOf(current)) {
            for (const other of nextQuorums) t.true([...one].some((id) => other.has(id)));
          }
        }
        current = next;
      }
    }),
    { numRuns: 60 },
  );
});

function decides(of: ConfState, set: ReadonlySet<RaftId>): boolean {
  const won = voteResult(of, new Map([...set].map((id) => [id, true]))) === 'won';
  // Commits and elections must agree on what a quorum is.
  const reached = quorumReached(of, (id) => (set.has(id) ? 1 : 0)) === 1;
  if (won !== reached) throw new Error('elections and commits differ');
  return won;
}

function minimal(of: ConfState, set: ReadonlySet<RaftId>): boolean {
  return [...set].every((id) => !decides(of, new Set([...set].filter((other) => other !== id))));
}

function votersMoved(a: ConfState, b: ConfState): number {
  return [
    ...a.voters.filter((id) => !b.voters.includes(id)),
    ...b.voters.filter((id) => !a.voters.includes(id)),
  ].length;
}

function equalSets<T>(a: ReadonlySet<T>, b: ReadonlySet<T>): boolean {
  return a.size === b.size && [...a].every((item) => b.has(item));
}
