import test from 'ava';
import type { VoteRequest } from '../../../manager/raft/types.ts';
import { judgeVote, type Verdict, type Voter } from '../../../manager/raft/vote.ts';
import { raftId } from './group.ts';

const A = raftId('a');
const B = raftId('b');
const C = raftId('c');
/** In term 5, heard nobody, voted for nobody, with a log no better than the candidate's. */
const VOTER: Voter = {
  term: 5,
  vote: undefined,
  leader: undefined,
  inLease: false,
  upToDate: true,
};
const REQUEST: VoteRequest = {
  type: 'vote',
  from: A,
  to: C,
  term: 6,
  lastIndex: 9,
  lastTerm: 5,
  transfer: false,
};

const table: [what: string, Partial<Voter>, Partial<VoteRequest>, Verdict][] = [
  ['grants in a new term', {}, {}, 'grant'],
  ['grants in its own term when it has not voted', {}, { term: 5 }, 'grant'],
  ['grants again to the same candidate: the answer may be lost', { vote: A }, { term: 5 }, 'grant'],
  ['refuses a second candidate of the term', { vote: B }, { term: 5 }, 'refuse'],
  ['refuses when the term has its leader', { leader: B }, { term: 5 }, 'refuse'],
  ['is free again in a new term', { vote: B, leader: B }, {}, 'grant'],
  ['refuses a log that lacks entries', { upToDate: false }, {}, 'refuse'],
  ['refuses an old term, so that the candidate learns of the new one', {}, { term: 4 }, 'refuse'],
  ['ignores a newer term while a leader is heard', { leader: B, inLease: true }, {}, 'ignore'],
  [
    'heeds a campaign that the leader ordered',
    { leader: B, inLease: true },
    { transfer: true },
    'grant',
  ],
  ['grants a pre-vote whomever it voted for', { vote: B }, { type: 'pre-vote' }, 'grant'],
  [
    'refuses a pre-vote to a log that lacks entries',
    { upToDate: false },
    { type: 'pre-vote' },
    'refuse',
  ],
  [
    'ignores a pre-vote while a leader is heard',
    { leader: B, inLease: true },
    { type: 'pre-vote' },
    'ignore',
  ],
];
for (const [what, voter, request, verdict] of table) {
  test(`a voter ${what}`, (t) => {
    t.is(judgeVote({ ...VOTER, ...voter }, { ...REQUEST, ...request }), verdict);
  });
}
