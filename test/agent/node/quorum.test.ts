import test from 'ava';
import { leaveRefusal } from '../../../agent/node/quorum.ts';

const HINT = /`--force-new-cluster`\. Use `--force` to suppress this message\.$/;
const TABLE: readonly [reachable: number, unreachable: number, RegExp][] = [
  [
    1,
    0,
    /manager\. Removing the last manager erases all .* Use `--force` to ignore this message\. $/,
  ],
  [
    2,
    0,
    /leaves 1 managers out of 2\. Without a Raft quorum your swarm will be inaccessible\. The only/,
  ],
  [2, 1, /leaves 1 managers out of 3\. /],
  [3, 0, /participating as a manager\. The only way to restore/],
  [3, 1, /leaves 2 managers out of 4\. /],
  [4, 1, /participating as a manager\. The only way to restore/],
  [3, 2, /leaves 2 managers out of 5\. /],
];
for (const [reachable, unreachable, words] of TABLE) {
  test(`a manager that leaves ${reachable - 1} reachable of ${reachable + unreachable}`, (t) => {
    const refusal = leaveRefusal({ reachable, unreachable });
    t.regex(refusal, /^You are attempting to leave the swarm on a node that is participating/);
    t.regex(refusal, words);
    if (reachable + unreachable > 1) t.regex(refusal, HINT);
  });
}

test('a manager that cannot ask the others is told of --force-new-cluster', (t) => {
  t.regex(leaveRefusal(undefined), HINT);
});
