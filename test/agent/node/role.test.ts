import test from 'ava';
import { nextRoleStep, type RoleStep, type RoleView } from '../../../agent/node/role.ts';

const M = 'manager';
const W = 'worker';

const TABLE: readonly [
  string,
  RoleView['wanted'],
  isMember: boolean,
  certificate: RoleView['certificate'],
  runs: boolean,
  RoleStep,
][] = [
  ['a worker stays one', W, false, W, false, 'none'],
  ['a manager stays one', M, true, M, true, 'none'],
  ['a manager that is not a member yet joins by itself', M, false, M, true, 'none'],
  ['a promoted worker needs the certificate first', M, false, W, false, 'renew'],
  ['with it the manager starts', M, false, M, false, 'start-manager'],
  ['promoted again while its manager still runs', M, false, W, true, 'renew'],
  ['a demoted manager runs until it is out of the quorum', W, true, M, true, 'await-removal'],
  ['also when its certificate is a worker’s already', W, true, W, true, 'await-removal'],
  ['once out it has the leader confirm its role', W, false, M, true, 'renew'],
  ['only then is the manager ended', W, false, W, true, 'stop-manager'],
  ['a manager that ended before the certificate came', W, false, M, false, 'renew'],
  ['a list of managers that is behind does not hold up a worker', W, true, W, false, 'none'],
];

for (const [title, wanted, isMember, certificate, runsManager, step] of TABLE) {
  test(`nextRoleStep(): ${title}`, (t) => {
    t.is(nextRoleStep({ wanted, isMember, certificate, runsManager }), step);
  });
}

test('nextRoleStep() never ends a manager whose certificate says that it is one', (t) => {
  for (const wanted of [M, W] as const) {
    for (const isMember of [true, false]) {
      t.not(nextRoleStep({ wanted, isMember, certificate: M, runsManager: true }), 'stop-manager');
    }
  }
});
