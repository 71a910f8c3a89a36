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
