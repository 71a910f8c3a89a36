/** Each rule stated at `Ready`, broken once on purpose. */
import test from 'ava';
import { RaftLog } from '../../../manager/raft/log.ts';
import { MemoryLog } from '../../../manager/raft/memory-log.ts';
import { ReadyContract } from '../../../manager/raft/ready-contract.ts';
import type { Entry, Message, Ready } from '../../../manager/raft/types.ts';
import { entry, Group, logOf, raftId } from './group.ts';

const NOTHING: Ready = {
  softState: undefined,
  hardState: undefined,
  snapshot: undefined,
  entries: [],
  mustSync: false,
  messages: [],
  messagesAfterSync: [],
  committedEntries: [],
  readStates: [],
  droppedReads: [],
  forwarded: [],
};
const A = raftId('a');
const B = raftId('b');
const START = { term: 2, vote: A, commit: 2 };

/** Four durable entries of term 1 and 2, committed to 2 and applied to 1; `unstable` come after. */
function contract(unstable: readonly Entry[] = []): ReadyContract {
  const view = new MemoryLog({
    snapshot: undefined,
    entries: logOf(1, 1, 2, 2),
    compacted: { index: 0, term: 0 },
  });
  const log = new RaftLog(view, START.commit, 1);
  log.append(unstable);
  return new ReadyContract(log, START, 1);
}

const accepted = (index: number): Message => ({
  type: 'append-reply',
  from: A,
  to: B,
  term: 2,
  index,
  rejected: false,
  hintIndex: 0,
  hintTerm: 0,
});
const vote = (to: typeof A): Message => ({
  type: 'vote-reply',
  from: A,
  to,
  term: 3,
  granted: true,
  commit: 0,
  commitTerm: 0,
});
const sound: [what: string, Partial<Ready>, unstable?: readonly Entry[]][] = [
  ['nothing', {}],
  ['a moved commit without a sync', { hardState: { ...START, commit: 4 } }],
  ['an acknowledgement of what is durable', { messages: [accepted(4)] }],
  [
    'new entries, vouched for after the sync',
    { entries: [entry(5, 2)], mustSync: true, messagesAfterSync: [accepted(5)] },
    [entry(5, 2)],
  ],
  [
    'a vote after its sync',
    { hardState: { term: 3, vote: B, commit: 2 }, mustSync: true, messagesAfterSync: [vote(B)] },
  ],
  ['committed entries', { committedEntries: [entry(2, 1)] }],
];
for (const [what, ready, unstable] of sound) {
  test(`a Ready with ${what} passes`, (t) => {
    t.notThrows(() => contract(unstable).check({ ...NOTHING, ...ready }));
  });
}

const broken: [rule: RegExp, Partial<Ready>, unstable?: readonly Entry[]][] = [
  [/term goes back/, { hardState: { term: 1, vote: A, commit: 2 }, mustSync: true }],
  [/second vote/, { hardState: { term: 2, vote: B, commit: 2 }, mustSync: true }],
  [/commit goes back/, { hardState: { ...START, commit: 1 } }],
  [/is committed but the log ends/, { hardState: { ...START, commit: 9 } }],
  [/not synced/, { hardState: { term: 3, vote: A, commit: 2 } }],
  [/not synced/, { entries: [entry(5, 2)] }, [entry(5, 2)]],
  [/before it is on disk/, { messages: [accepted(5)] }, [entry(5, 2)]],
  [
    /vote would leave/,
    { hardState: { term: 3, vote: B, commit: 2 }, mustSync: true, messages: [vote(B)] },
  ],
  [
    /not to be stored/,
    { hardState: { term: 3, vote: A, commit: 2 }, mustSync: true, messagesAfterSync: [vote(B)] },
  ],
  [/the log ends before it/, { messagesAfterSync: [accepted(9)] }],
  [/of term 3, stored is 2/, { messagesAfterSync: [vote(A)] }],
  [/handed out/, { entries: [entry(1, 2)], mustSync: true }],
  [
    /out of place/,
    { entries: [entry(5, 2), entry(7, 2)], mustSync: true },
    [entry(5, 2), entry(6, 2)],
  ],
  [/out of place/, { entries: [entry(5, 3)], mustSync: true }, [entry(5, 3)]],
  [/entries end at/, { entries: [entry(5, 2)], mustSync: true }, [entry(5, 2), entry(6, 2)]],
  [/before it is committed/, { committedEntries: [entry(2, 1), entry(3, 2)] }],
  [/out of place/, { committedEntries: [entry(1, 1)] }],
  [
    /durable/,
    { hardState: { ...START, commit: 5 }, committedEntries: logOf(1, 1, 2, 2, 2).slice(1) },
    [entry(5, 2)],
  ],
  [
    /does not follow the snapshot/,
    {
      snapshot: { index: 8, term: 2, confState: Group.of(1).get('a').status.confState },
      entries: [entry(5, 2)],
      mustSync: true,
    },
    [entry(5, 2)],
  ],
];
for (const [i, [rule, ready, unstable]] of broken.entries()) {
  test(`broken Ready ${i + 1} is stopped: ${rule.source}`, (t) => {
    t.throws(() => contract(unstable).check({ ...NOTHING, ...ready }), { message: rule });
  });
}

test('advance() before the entries or the snapshot are in the log view stops the node', (t) => {
  const group = Group.of(3);
  const a = group.elect('a');
  a.propose('x');
  a.core.ready();
  t.throws(() => a.core.advance(), { message: /before entry .* was put into the log view/ });
  const { confState } = group.get('b').status;
  const snapshot = { index: 9, term: 2, confState };
  const b = group.get('b');
  b.core.step({ type: 'snapshot', from: A, to: b.id, term: 2, snapshot });
  b.core.ready();
  t.throws(() => b.core.advance(), { message: /before the snapshot at 9 was put/ });
});
