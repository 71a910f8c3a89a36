import test from 'ava';
import { Progress } from '../../../manager/raft/progress.ts';
import type { RaftOptions } from '../../../manager/raft/types.ts';

const OPTIONS = { maxInflightMessages: 100, maxInflightBytes: 1_000_000 } as RaftOptions;

test('a member whose appends overtake each other is fed one by one until the next heartbeat', (t) => {
  const progress = new Progress(1, OPTIONS);
  progress.update(10);
  let windows = 0;
  for (let refused = 90; refused > 20 && progress.mayReplicate(); refused--) {
    progress.becomeReplicate();
    windows++;
    for (let i = 0; i < 90; i++) progress.sent(1, 10, 0);
    t.true(progress.decrease(refused, 10));
    progress.becomeProbe();
  }
  t.is(windows, 2, 'however many refusals there are');
  t.is(progress.next, 11);
  progress.setbacks = 0;
  t.true(progress.mayReplicate());
});

const replicating = (match: number, next: number): Progress => {
  const progress = new Progress(1, OPTIONS);
  progress.update(match);
  progress.becomeReplicate();
  progress.sent(next - 1 - match, 10, next - 1);
  return progress;
};

test('a refusal of what was acknowledged since, or never sent, is an old one', (t) => {
  const progress = replicating(10, 20);
  for (const rejected of [5, 10, 20, 25]) {
    t.false(progress.decrease(rejected, 3), `${rejected}`);
    t.like(progress, { match: 10, next: 20, setbacks: 0 });
  }
  t.true(progress.decrease(15, 12));
  t.is(progress.next, 11);
});

test('a probe is refused by the answer to it alone, and never steps back below what is known', (t) => {
  const progress = replicating(10, 20);
  progress.becomeProbe();
  progress.next = 18;
  for (const rejected of [12, 16, 18]) t.false(progress.decrease(rejected, 3), `${rejected}`);
  t.is(progress.next, 18);
  t.true(progress.decrease(17, 3));
  t.is(progress.next, 11);
});

test('what was told of the commit index counts as lost with the appends that told it', (t) => {
  const refused = replicating(10, 20);
  t.is(refused.sentCommit, 19);
  refused.decrease(15, 12);
  t.is(refused.sentCommit, 10);
  const unreachable = replicating(10, 20);
  unreachable.becomeProbe();
  t.is(unreachable.sentCommit, 10);
});
