import test from 'ava';
import fc from 'fast-check';
import { changeConf, EMPTY_CONF, isVoter, members } from '../../../manager/raft/conf-change.ts';
import type { ConfChange, ConfState } from '../../../manager/raft/types.ts';
import { change, raftId } from './group.ts';

const KINDS: readonly ConfChange['kind'][] = ['add-voter', 'add-learner', 'remove'];
const anyChange = fc
  .record({ kind: fc.constantFrom(...KINDS), name: fc.constantFrom('a', 'b', 'c', 'd', 'e') })
  .map(({ kind, name }) => change(kind, name));

function conf(voters: string, learners = ''): ConfState {
  return { ...EMPTY_CONF, voters: [...voters].map(raftId), learners: [...learners].map(raftId) };
}

const table: [before: ConfState, ConfChange, after: ConfState][] = [
  [conf('a'), change('add-voter', 'b'), conf('ab')],
  [conf('a'), change('add-learner', 'b'), conf('a', 'b')],
  [conf('a', 'b'), change('add-voter', 'b'), conf('ab')],
  [conf('ab'), change('add-learner', 'b'), conf('a', 'b')],
  [conf('abc', 'd'), change('remove', 'a'), conf('bc', 'd')],
  [conf('abc', 'd'), change('remove', 'd'), conf('abc')],
];
for (const [before, made, after] of table) {
  test(`${made.kind} ${made.id.slice(-1)} turns ${names(before)} into ${names(after)}`, (t) => {
    t.deepEqual(changeConf(before, made), after);
  });
}

const refused: [ConfState, ConfChange][] = [
  [conf('a'), change('remove', 'a')],
  [conf('a'), change('add-learner', 'a')],
  [conf('a', 'b'), change('remove', 'a')],
  [conf('ab'), change('add-voter', 'a')],
  [conf('ab', 'c'), change('add-learner', 'c')],
  [conf('ab'), change('remove', 'c')],
];
for (const [before, made] of refused) {
  test(`${made.kind} ${made.id.slice(-1)} changes nothing in ${names(before)}`, (t) => {
    t.is(changeConf(before, made), before);
  });
}

test('any walk keeps a voter, keeps groups apart, and moves one voter at a time', (t) => {
  fc.assert(
    fc.property(fc.array(anyChange, { maxLength: 40 }), (changes) => {
      let current = conf('a');
      for (const made of changes) {
        const next = changeConf(current, made);
        const moved = [
          ...next.voters.filter((id) => !isVoter(current, id)),
          ...current.voters.filter((id) => !isVoter(next, id)),
        ];
        t.true(moved.length <= 1);
        t.true(next.voters.length > 0);
        t.is(members(next).length, next.voters.length + next.learners.length);
        current = next;
      }
    }),
  );
});

function names({ voters, learners }: ConfState): string {
  const short = (ids: readonly string[]) => ids.map((id) => id.slice(-1)).join('');
  return `(${short(voters)}|${short(learners)})`;
}
