import test from 'ava';
import { Slot } from '../../../manager/orchestrator/draft.ts';
import { restartPolicyOf } from '../../../manager/orchestrator/policy.ts';
import { restartDelayMs, shouldRestart } from '../../../manager/orchestrator/restart.ts';
import type { RestartPolicy, Task, TaskState } from '../../../shared/gen/shoal/v1/objects.ts';
import { TaskState as State } from '../../../shared/gen/shoal/v1/objects.ts';
import { serviceFixture, taskOf, taskSpecFixture } from '../../support/objects.ts';

const SECOND = 1_000_000_000;

/** A slot whose tasks ended so, oldest first, one each ten seconds; returns the last of them too. */
function history(restart: Partial<RestartPolicy>, states: readonly TaskState[]) {
  const service = serviceFixture({ spec: { task: taskSpecFixture({ restart }) } });
  const tasks = states.map((state, i) =>
    taskOf(service, {
      id: `task${i}`,
      meta: { version: i, createdAtMs: i * 10_000, updatedAtMs: 0 },
      status: { state, atMs: i * 10_000 + 9000 },
    }),
  );
  const slot = new Slot('1', 1, '');
  for (const task of tasks) slot.entries.unshift({ task, stored: task, removed: false });
  return { slot, last: tasks.at(-1) as Task };
}

const { FAILED, COMPLETE, REJECTED, SHUTDOWN } = State;
const conditions: [Partial<RestartPolicy>, TaskState, boolean][] = [
  [{}, FAILED, true],
  [{}, COMPLETE, true],
  [{ condition: 'any' }, REJECTED, true],
  [{ condition: 'on-failure' }, FAILED, true],
  [{ condition: 'on-failure' }, REJECTED, true],
  [{ condition: 'on-failure' }, COMPLETE, false],
  [{ condition: 'none' }, FAILED, false],
];
for (const [restart, state, expected] of conditions) {
  test(`shouldRestart() says ${expected} of ${restart.condition ?? 'no condition'} in state ${state}`, (t) => {
    const { slot, last } = history(restart, [state]);
    t.is(shouldRestart(last, slot), expected);
  });
}

const attempts: [title: string, Partial<RestartPolicy>, TaskState[], boolean][] = [
  ['the first failure of two allowed', { maxAttempts: 2 }, [FAILED], true],
  ['the second', { maxAttempts: 2 }, [FAILED, FAILED], true],
  ['the third', { maxAttempts: 2 }, [FAILED, FAILED, FAILED], false],
  ['no limit', { maxAttempts: 0 }, [FAILED, FAILED, FAILED, FAILED], true],
  [
    'tasks that were told to stop are no attempts',
    { maxAttempts: 1 },
    [SHUTDOWN, SHUTDOWN, FAILED],
    true,
  ],
  [
    'restarts before the window are forgotten',
    { maxAttempts: 1, windowNs: 5 * SECOND },
    [FAILED, FAILED],
    true,
  ],
  [
    'restarts in the window count',
    { maxAttempts: 1, windowNs: 15 * SECOND },
    [FAILED, FAILED],
    false,
  ],
];
for (const [title, restart, states, expected] of attempts) {
  test(`shouldRestart() counts attempts: ${title}`, (t) => {
    const { slot, last } = history(restart, states);
    t.is(shouldRestart(last, slot), expected);
  });
}

test('attempts of another version of the service do not count', (t) => {
  const { slot, last } = history({ maxAttempts: 1 }, [FAILED, FAILED]);
  const newer = { ...last, specVersion: 7 };
  const [entry] = slot.entries;
  if (entry) entry.task = newer;
  t.true(shouldRestart(newer, slot));
});

const delays: [title: string, hadMs: number, livedMs: number, expectedMs: number][] = [
  ['a first failure is back soon', 0, 50, 100],
  ['then after a second', 100, 50, 1000],
  ['also when the write took a while', 60, 50, 100],
  ['then five', 1000, 50, 5000],
  ['then ten', 5000, 29_000, 10_000],
  ['then thirty', 10_000, 0, 30_000],
  ['and no longer', 30_000, 0, 30_000],
  ['what lived for half a minute begins anew', 30_000, 30_000, 100],
];
for (const [title, hadMs, livedMs, expectedMs] of delays) {
  test(`restartDelayMs() without a delay in the spec: ${title}`, (t) => {
    const madeAtMs = 1_000_000;
    const task = taskOf(serviceFixture(), {
      meta: { version: 1, createdAtMs: madeAtMs, updatedAtMs: 0 },
      startNotBeforeMs: hadMs === 0 ? 0 : madeAtMs + hadMs,
    });
    t.is(restartDelayMs(task, restartPolicyOf(task), madeAtMs + hadMs + livedMs), expectedMs);
  });
}

test('restartDelayMs() is what the spec says, however often a task failed', (t) => {
  const { last } = history({ delayNs: 5 * SECOND }, [FAILED, FAILED, FAILED]);
  t.is(restartDelayMs(last, restartPolicyOf(last), 30_000), 5000);
  const { last: none } = history({ delayNs: 0 }, [FAILED]);
  t.is(restartDelayMs(none, restartPolicyOf(none), 30_000), 0);
});
