import test from 'ava';
import fc from 'fast-check';
import { EMPTY_CONF } from '../../../manager/raft/conf-change.ts';
import { majorityReached, quorumReached, voteResult } from '../../../manager/raft/quorum.ts';
import type { ConfState, RaftId } from '../../../manager/raft/types.ts';
import { raftId } from './group.ts';

const IDS = 'abcdefg'.split('').map(raftId);
const group = fc.subarray(IDS);
const conf: fc.Arbitrary<ConfState> = fc.record({
  voters: fc.subarray(IDS, { minLength: 1 }),
  votersOutgoing: group,
  learners: fc.constant([]),
  learnersNext: fc.constant([]),
  autoLeave: fc.boolean(),
});
const indexes = fc.array(fc.nat(6), { minLength: IDS.length, maxLength: IDS.length });

/** By the definition: the highest index that more than half of the group has reached. */
function reachedByDefinition(voters: readonly RaftId[], at: (id: RaftId) => number): number {
  if (voters.length === 0) return Number.POSITIVE_INFINITY;
  for (let index = 6; index >= 0; index--) {
    if (voters.filter((id) => at(id) >= index).length * 2 > voters.length) return index;
  }
  return -1;
}

test('majorityReached() is the highest value that more than half have reached', (t) => {
  fc.assert(
    fc.property(group, indexes, (voters, values) => {
      const at = (id: RaftId) => values[IDS.indexOf(id)] ?? 0;
      t.is(majorityReached(voters, at), reachedByDefinition(voters, at));
    }),
  );
});

test('quorumReached() asks both halves of a joint configuration', (t) => {
  fc.assert(
    fc.property(conf, indexes, (joint, values) => {
      const at = (id: RaftId) => values[IDS.indexOf(id)] ?? 0;
      const expected = Math.min(
        reachedByDefinition(joint.voters, at),
        reachedByDefinition(joint.votersOutgoing, at),
      );
      t.is(quorumReached(joint, at), expected);
    }),
  );
});

test('voteResult() is won or lost only when no missing vote can change it', (t) => {
  const votes = fc.array(fc.constantFrom(true, false, undefined), {
    minLength: IDS.length,
    maxLength: IDS.length,
  });
  /** All ways in which the missing votes can fall. */
  function* completions(list: readonly (boolean | undefined)[]): Generator<boolean[]> {
    const missing = list.flatMap((vote, i) => (vote === undefined ? [i] : []));
    for (let bits = 0; bits < 2 ** missing.length; bits++) {
      yield list.map((vote, i) => vote ?? ((bits >> missing.indexOf(i)) & 1) === 1);
    }
  }
  const wins = (voters: readonly RaftId[], all: readonly boolean[]) =>
    voters.length === 0 || voters.filter((id) => all[IDS.indexOf(id)]).length * 2 > voters.length;
  fc.assert(
    fc.property(conf, votes, (joint, list) => {
      const outcomes = new Set(
        [...completions(list)].map(
          (all) => wins(joint.voters, all) && wins(joint.votersOutgoing, all),
        ),
      );
      const cast = new Map(
        list.flatMap((vote, i) => (vote === undefined ? [] : [[IDS[i] as RaftId, vote] as const])),
      );
      const result = voteResult(joint, cast);
      if (result === 'won') t.deepEqual([...outcomes], [true]);
      if (result === 'lost') t.deepEqual([...outcomes], [false]);
      // With two halves that overlap, one may wait although the other has decided; never for one.
      if (result === 'pending' && joint.votersOutgoing.length === 0) t.is(outcomes.size, 2);
    }),
    { numRuns: 200 },
  );
});

test('votes and indexes of learners and strangers count for nothing', (t) => {
  const [a, b, c, d] = IDS as [RaftId, RaftId, RaftId, RaftId];
  const three: ConfState = { ...EMPTY_CONF, voters: [a, b, c], learners: [d] };
  t.is(
    voteResult(
      three,
      new Map([
        [a, true],
        [d, true],
      ]),
    ),
    'pending',
  );
  t.is(
    quorumReached(three, (id) => (id === d || id === a ? 9 : 0)),
    0,
  );
});
