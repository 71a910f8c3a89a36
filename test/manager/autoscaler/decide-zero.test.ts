import test from 'ava';
import { BY_HAND_HOLD_MS } from '../../../shared/model/autoscale.ts';
import { type Answer, type Ask, ask, broken, cpu, list, NOW, requests, S } from './support/ask.ts';

/** Facts of KEDA's way to none and back, and what keeps a decision from being written. */
const zero = { min: 0, max: 10, metrics: [list(5)], cooldownToZeroNs: 300 * S };
const activeAgo = (seconds: number) => ({ activeAtMs: NOW - seconds * 1000 });
const starting = ['starting', 'starting'] as const;

const ROWS: readonly [string, Ask, Answer][] = [
  // ---- back from none
  [
    'at none an empty queue is idle',
    { spec: zero, replicas: 0, metrics: [0] },
    { to: 0, reason: 'idle' },
  ],
  [
    'one message brings one task',
    { spec: zero, replicas: 0, metrics: [1] },
    { to: 1, reason: 'activated' },
  ],
  [
    'many messages bring one task first',
    { spec: zero, replicas: 0, metrics: [500] },
    { to: 1, reason: 'activated' },
  ],
  [
    'a message that the stable window hardly sees',
    { spec: zero, replicas: 0, metrics: [{ kind: 'value', value: { stable: 0, fast: 1 } }] },
    { to: 1 },
  ],
  [
    'just at the activation is not active',
    { spec: { ...zero, metrics: [list(5, 10)] }, replicas: 0, metrics: [10] },
    { to: 0, reason: 'idle' },
  ],
  [
    'above the activation is active',
    { spec: { ...zero, metrics: [list(5, 10)] }, replicas: 0, metrics: [11] },
    { to: 1, reason: 'activated' },
  ],
  [
    'one active of two is enough',
    { spec: { ...zero, metrics: [list(5), list(5, 0, 'mail')] }, replicas: 0, metrics: [0, 3] },
    { to: 1, reason: 'activated', says: /^redis-list mail/ },
  ],
  [
    'a broken one does not keep an active one asleep',
    {
      spec: { ...zero, metrics: [list(5), list(5, 0, 'mail')] },
      replicas: 0,
      metrics: [broken(), 3],
    },
    { to: 1, reason: 'activated' },
  ],
  [
    'a broken one alone brings nothing',
    { spec: zero, replicas: 0, metrics: [broken(9)] },
    { to: 0, reason: 'metric-failed' },
  ],
  [
    'its fallback brings tasks',
    { spec: { ...zero, onError: { after: 3, replicas: 4 } }, replicas: 0, metrics: [broken(3)] },
    { to: 4, reason: 'fallback' },
  ],
  [
    'its fallback waits for its number of failures',
    { spec: { ...zero, onError: { after: 3, replicas: 4 } }, replicas: 0, metrics: [broken(2)] },
    { to: 0, reason: 'metric-failed' },
  ],
  [
    'a fallback of none brings nothing',
    { spec: { ...zero, onError: { after: 3, replicas: 0 } }, replicas: 0, metrics: [broken(5)] },
    { to: 0, reason: 'metric-failed' },
  ],
  [
    'a knock wakes',
    { spec: { ...zero, metrics: [requests(100)] }, replicas: 0, input: { knocks: 1 } },
    { to: 1, reason: 'woken', says: /^1 connection waits: 0 -> 1$/ },
  ],
  [
    'many knocks bring one task first',
    { spec: { ...zero, metrics: [requests(100)] }, replicas: 0, input: { knocks: 70 } },
    { to: 1, reason: 'woken' },
  ],
  [
    'a knock wakes a service of CPU alone',
    { spec: { ...zero, metrics: [cpu(0.7)] }, replicas: 0, input: { knocks: 1 } },
    { to: 1, reason: 'woken' },
  ],
  [
    'without a knock requests are idle',
    { spec: { ...zero, metrics: [requests(100)] }, replicas: 0 },
    { to: 0, reason: 'idle' },
  ],
  [
    'a knock wakes while an update is under way',
    { spec: zero, replicas: 0, metrics: [0], input: { knocks: 1, updating: true } },
    { to: 1, reason: 'woken' },
  ],
  [
    'none and at least one asked for, set by itself before: raised',
    { spec: { ...zero, min: 2 }, replicas: 0, metrics: [0], input: { setReplicas: 0 } },
    { to: 2, reason: 'below-min' },
  ],
  [
    'none and at least one asked for: an operator said none',
    { spec: { ...zero, min: 2 }, replicas: 0, metrics: [50], input: { knocks: 5 } },
    { to: 0, reason: 'disabled-at-zero' },
  ],
  [
    'none and at least one asked for: an operator said none after 3',
    { spec: { ...zero, min: 2 }, replicas: 0, metrics: [50], input: { setReplicas: 3 } },
    { to: 0, reason: 'disabled-at-zero' },
  ],
  // ---- down to none
  [
    'active: one task stays',
    { spec: zero, replicas: 1, metrics: [1], memory: activeAgo(1) },
    { to: 1 },
  ],
  [
    'quiet for less than the cooldown: one task stays',
    { spec: zero, replicas: 1, metrics: [0], memory: activeAgo(299) },
    { to: 1, reason: 'cooling-down', says: /until 14:00:01/ },
  ],
  [
    'quiet for the cooldown: none',
    { spec: zero, replicas: 1, metrics: [0], memory: activeAgo(300) },
    { to: 0, reason: 'to-zero', says: /^no load since 13:55:00: 1 -> 0$/ },
  ],
  [
    'from several to none when the cooldown is over',
    { spec: zero, replicas: 4, metrics: [0], memory: activeAgo(300) },
    { to: 0, reason: 'to-zero' },
  ],
  [
    'from several to one before',
    { spec: zero, replicas: 4, metrics: [0], memory: activeAgo(100) },
    { to: 1, reason: 'below-target' },
  ],
  [
    'at its activation counts as quiet',
    {
      spec: { ...zero, metrics: [list(5, 10)] },
      replicas: 1,
      metrics: [10],
      memory: activeAgo(400),
    },
    { to: 0, reason: 'to-zero' },
  ],
  [
    'one active of two keeps a task',
    {
      spec: { ...zero, metrics: [list(5), list(5, 0, 'mail')] },
      replicas: 1,
      metrics: [0, 1],
      memory: activeAgo(400),
    },
    { to: 1 },
  ],
  [
    'a broken one keeps a task',
    {
      spec: { ...zero, metrics: [list(5), list(5, 0, 'mail')] },
      replicas: 1,
      metrics: [0, broken()],
      memory: activeAgo(400),
    },
    { to: 1, reason: 'metric-failed' },
  ],
  [
    'a knock counts as load',
    { spec: zero, replicas: 1, metrics: [0], memory: activeAgo(400), input: { knocks: 1 } },
    { to: 1, reason: 'cooling-down' },
  ],
  [
    'no requests for the cooldown: none',
    {
      spec: { ...zero, metrics: [requests(100)] },
      replicas: 1,
      tasks: [0],
      memory: activeAgo(300),
    },
    { to: 0, reason: 'to-zero' },
  ],
  [
    'one request keeps a task',
    {
      spec: { ...zero, metrics: [requests(100)] },
      replicas: 1,
      tasks: [0.1],
      memory: activeAgo(400),
    },
    { to: 1 },
  ],
  [
    'requests that nobody measured keep a task',
    {
      spec: { ...zero, metrics: [requests(100)] },
      replicas: 1,
      tasks: ['missing'],
      memory: activeAgo(400),
    },
    { to: 1, reason: 'no-samples' },
  ],
  [
    'requests that nobody measured of one task keep a task, though there are none at another',
    {
      spec: { ...zero, metrics: [requests(100)] },
      replicas: 2,
      tasks: [0, 'missing'],
      memory: activeAgo(400),
    },
    { to: 1, reason: 'below-target' },
  ],
  [
    'a task that never gets ready is given up when nobody knocks any more',
    {
      spec: { ...zero, metrics: [requests(100)] },
      replicas: 1,
      tasks: ['starting'],
      memory: activeAgo(300),
    },
    { to: 0, reason: 'to-zero' },
  ],
  [
    'a task that gets ready slowly is not given up before whoever waits asks again',
    {
      spec: { ...zero, metrics: [requests(100)], cooldownToZeroNs: 3 * S },
      replicas: 1,
      tasks: ['unplaced'],
      memory: activeAgo(100),
    },
    { to: 1, reason: 'no-samples', says: /requests .*\(1 task without room on any node\)/ },
  ],
  [
    'a task that never gets ready is tried on while somebody knocks',
    {
      spec: { ...zero, metrics: [requests(100)] },
      replicas: 1,
      tasks: ['starting'],
      memory: activeAgo(300),
      input: { knocks: 1 },
    },
    { to: 1, reason: 'no-samples', says: /requests .*\(1 task not ready yet\)/ },
  ],
  [
    'one that is not ready says nothing of CPU alone',
    {
      spec: { ...zero, metrics: [cpu(0.7), list(5)] },
      replicas: 1,
      tasks: ['starting'],
      metrics: [undefined, 1],
      memory: activeAgo(300),
    },
    { to: 1 },
  ],
  [
    'CPU cannot tell that nobody wants a service',
    { spec: { ...zero, metrics: [cpu(0.7)] }, replicas: 1, tasks: [0], memory: activeAgo(4000) },
    { to: 1, reason: 'cooling-down' },
  ],
  [
    'CPU that is busy does not keep a quiet queue awake',
    {
      spec: { ...zero, metrics: [cpu(0.7), list(5)] },
      replicas: 1,
      tasks: [0.7],
      metrics: [undefined, 0],
      memory: activeAgo(300),
    },
    { to: 0, reason: 'to-zero' },
  ],
  [
    'a least of one never goes to none',
    { spec: { ...zero, min: 1 }, replicas: 1, metrics: [0], memory: activeAgo(9999) },
    { to: 1, reason: 'at-min' },
  ],
  [
    'a first sight begins the cooldown',
    { spec: zero, replicas: 1, metrics: [0], memory: { recommendations: [], activeAtMs: 0 } },
    { to: 1, reason: 'cooling-down', says: /until 14:05:00/ },
  ],
  // ---- holds
  [
    'an update holds a decrease',
    { spec: { metrics: [list(5)] }, replicas: 8, metrics: [10], input: { updating: true } },
    { to: 2, reason: 'updating', held: true, says: /8 -> 2/ },
  ],
  [
    'an update does not hold an increase',
    { spec: { metrics: [list(5)] }, replicas: 2, metrics: [40], input: { updating: true } },
    { to: 8, reason: 'above-target' },
  ],
  [
    'an update holds the step to none',
    { spec: zero, replicas: 1, metrics: [0], memory: activeAgo(400), input: { updating: true } },
    { to: 0, reason: 'updating', held: true },
  ],
  [
    'an update holds what is above the most',
    { spec: { max: 4, metrics: [list(5)] }, replicas: 8, metrics: [40], input: { updating: true } },
    { to: 4, reason: 'updating', held: true },
  ],
  [
    'an update without a change is no reason',
    { spec: { metrics: [list(5)] }, replicas: 2, metrics: [10], input: { updating: true } },
    { to: 2, reason: 'within-tolerance' },
  ],
  [
    'a task without a place holds an increase',
    { spec: { metrics: [list(5)] }, replicas: 2, metrics: [40], tasks: [1, 'unplaced'] },
    { to: 8, reason: 'unplaced', held: true, says: /1 task waits for room/ },
  ],
  [
    'a task without a place does not hold a decrease',
    { spec: { metrics: [list(5)] }, replicas: 4, metrics: [10], tasks: [1, 1, 1, 'unplaced'] },
    { to: 2, reason: 'below-target' },
  ],
  [
    'a task without a place does not hold the least',
    { spec: { min: 4, metrics: [list(5)] }, replicas: 2, metrics: [10], tasks: [1, 'unplaced'] },
    { to: 4, reason: 'below-min' },
  ],
  [
    'a task that only starts does not hold an increase',
    { spec: { metrics: [list(5)] }, replicas: 2, metrics: [40], tasks: starting },
    { to: 8, reason: 'above-target' },
  ],
  [
    'by hand: held',
    { spec: { metrics: [list(5)] }, replicas: 8, metrics: [10], input: { setReplicas: 3 } },
    {
      to: 2,
      reason: 'scaled-by-hand',
      held: true,
      says: /^set from 3 to 8 by hand at 14:00:00, held until 14:10:00; otherwise .*8 -> 2/,
    },
  ],
  [
    'by hand and just right: told',
    { spec: { metrics: [list(5)] }, replicas: 8, metrics: [40], input: { setReplicas: 3 } },
    { to: 8, reason: 'scaled-by-hand' },
  ],
  [
    'by hand a while ago: still held',
    {
      spec: { metrics: [list(5)] },
      replicas: 8,
      metrics: [10],
      input: { setReplicas: 3 },
      memory: { handSinceMs: NOW - BY_HAND_HOLD_MS + 1, handReplicas: 8 },
    },
    { to: 2, reason: 'scaled-by-hand', held: true },
  ],
  [
    'by hand long ago: decided again',
    {
      spec: { metrics: [list(5)] },
      replicas: 8,
      metrics: [10],
      input: { setReplicas: 3 },
      memory: { handSinceMs: NOW - BY_HAND_HOLD_MS, handReplicas: 8 },
    },
    { to: 2, reason: 'below-target' },
  ],
  [
    'by hand again: held anew',
    {
      spec: { metrics: [list(5)] },
      replicas: 8,
      metrics: [10],
      input: { setReplicas: 3 },
      memory: { handSinceMs: NOW - BY_HAND_HOLD_MS, handReplicas: 5 },
    },
    { to: 2, reason: 'scaled-by-hand', held: true },
  ],
  [
    'the count it set itself is not by hand',
    { spec: { metrics: [list(5)] }, replicas: 8, metrics: [10], input: { setReplicas: 8 } },
    { to: 2, reason: 'below-target' },
  ],
  [
    'recommend says and does nothing',
    { spec: { mode: 'recommend', metrics: [list(5)] }, replicas: 8, metrics: [10] },
    { to: 2, reason: 'below-target', held: true, says: /^only recommended: / },
  ],
  [
    'recommend without a change is not held',
    { spec: { mode: 'recommend', metrics: [list(5)] }, replicas: 2, metrics: [10] },
    { to: 2, reason: 'within-tolerance' },
  ],
  [
    'recommend above the most changes nothing',
    { spec: { mode: 'recommend', max: 4, metrics: [list(5)] }, replicas: 8, metrics: [10] },
    { to: 4, reason: 'above-max', held: true },
  ],
  [
    'recommend knows no hand',
    {
      spec: { mode: 'recommend', metrics: [list(5)] },
      replicas: 8,
      metrics: [40],
      input: { setReplicas: 3 },
    },
    { to: 8, reason: 'within-tolerance' },
  ],
  [
    'off does nothing',
    { spec: { mode: 'off', max: 4 }, replicas: 8, tasks: [9] },
    { to: 8, reason: 'off' },
  ],
  [
    'an empty mode is active',
    { spec: { mode: '', metrics: [list(5)] }, replicas: 8, metrics: [10] },
    { to: 2, reason: 'below-target' },
  ],
  // ---- schedules: it is a Saturday, 14:00 UTC
  [
    'a schedule in force raises the least',
    {
      spec: { schedules: [at('0 13 * * *', 2, 5)], metrics: [list(5)] },
      replicas: 2,
      metrics: [10],
    },
    { to: 5, reason: 'below-min', says: /schedule 0 13 \* \* \* until 15:00:00/ },
  ],
  [
    'the least of a schedule is told as such',
    {
      spec: { schedules: [at('0 13 * * *', 2, 5)], metrics: [list(5)] },
      replicas: 5,
      metrics: [0],
    },
    {
      to: 5,
      reason: 'at-min',
      says: /^at the least of 5 tasks \(schedule 0 13 \* \* \* until 15:00:00\): /,
    },
  ],
  [
    'the most of a schedule is told as such',
    {
      spec: { schedules: [at('0 13 * * *', 2, 1, 3)], metrics: [list(5)] },
      replicas: 3,
      metrics: [40],
    },
    { to: 3, reason: 'at-max', says: /^at the most of 3 tasks \(schedule / },
  ],
  [
    'a schedule that is over does not',
    {
      spec: { schedules: [at('0 13 * * *', 1, 5)], metrics: [list(5)] },
      replicas: 2,
      metrics: [10],
    },
    { to: 2 },
  ],
  [
    'a schedule lowers the most',
    {
      spec: { schedules: [at('0 13 * * *', 2, 1, 3)], metrics: [list(5)] },
      replicas: 9,
      metrics: [45],
    },
    { to: 3, reason: 'above-max' },
  ],
  [
    'a schedule of a working day is not in force',
    {
      spec: { schedules: [at('0 13 * * mon-fri', 2, 5)], metrics: [list(5)] },
      replicas: 2,
      metrics: [10],
    },
    { to: 2 },
  ],
  [
    'of two the larger least',
    {
      spec: { schedules: [at('0 13 * * *', 2, 5), at('0 12 * * sat', 4, 7)], metrics: [list(5)] },
      replicas: 2,
      metrics: [10],
    },
    { to: 7 },
  ],
  [
    'a schedule wakes what was declared with none',
    { spec: { ...zero, schedules: [at('0 13 * * *', 2, 3)] }, replicas: 0, metrics: [0] },
    { to: 3, reason: 'below-min' },
  ],
  [
    'a schedule does not wake what an operator set to none',
    {
      spec: { ...zero, schedules: [at('0 13 * * *', 2, 3)] },
      replicas: 0,
      metrics: [0],
      input: { setReplicas: 2 },
    },
    { to: 0, reason: 'disabled-at-zero' },
  ],
  [
    'a schedule may let it sleep',
    {
      spec: { ...zero, min: 2, schedules: [at('0 13 * * *', 2, 0)] },
      replicas: 2,
      metrics: [0],
      memory: activeAgo(400),
    },
    { to: 0, reason: 'to-zero' },
  ],
  [
    'in a time zone',
    {
      spec: { schedules: [at('0 15 * * *', 1, 5, undefined, 'Europe/Paris')], metrics: [list(5)] },
      replicas: 2,
      metrics: [10],
    },
    { to: 5 },
  ],
];

for (const [title, question, answer] of ROWS) {
  test(`none, holds, schedules: ${title}`, (t) => {
    const { record, replicas } = ask(question);
    t.is(record.to, answer.to, record.message);
    if (answer.reason !== undefined) t.is(record.reason, answer.reason, record.message);
    if (answer.says !== undefined) t.regex(record.message, answer.says);
    t.is(record.held, answer.held ?? false);
    t.is(replicas, answer.held ? question.replicas : answer.to);
  });
}

test('the cooldown of a task that never gets ready is over once, seconds without samples do not begin it again', (t) => {
  const spec = { ...zero, metrics: [requests(100)] };
  let row: Ask = { spec, replicas: 1, tasks: ['starting'] };
  let seconds = 0;
  for (let replicas = 1; replicas > 0 && seconds < 1000; seconds++) {
    const decision = ask(row);
    replicas = decision.replicas;
    row = { ...row, memory: decision.memory, nowMs: NOW + (seconds + 1) * 1000 };
  }
  t.is(seconds, 301);
});

test('the first task and the last are no events of the rates', (t) => {
  t.deepEqual(ask({ spec: zero, replicas: 0, metrics: [9] }).memory.events, []);
  const asleep = ask({ spec: zero, replicas: 1, metrics: [0], memory: activeAgo(300) });
  t.is(asleep.replicas, 0);
  t.deepEqual(asleep.memory.events, []);
});

test('a held decision is no event of the rates', (t) => {
  const row: Ask = {
    spec: { metrics: [list(5)] },
    replicas: 2,
    metrics: [40],
    tasks: ['unplaced'],
  };
  t.deepEqual(ask(row).memory.events, []);
});

test('since when a count is set by hand is remembered, and forgotten when it no longer is', (t) => {
  const row: Ask = { spec: { metrics: [list(5)] }, replicas: 8, metrics: [40] };
  const held = ask({ ...row, input: { setReplicas: 3 } }).memory;
  t.like(held, { handSinceMs: NOW, handReplicas: 8 });
  const own = ask({
    ...row,
    input: { setReplicas: 8 },
    memory: { handSinceMs: 5, handReplicas: 8 },
  });
  t.like(own.memory, { handSinceMs: 0, handReplicas: 0 });
});

function at(cron: string, hours: number, min: number, max?: number, timezone = '') {
  return { cron, forNs: hours * 3600 * S, min, max, timezone };
}
