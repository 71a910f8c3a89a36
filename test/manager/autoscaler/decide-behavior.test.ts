import test from 'ava';
import type { AutoscaleSpec, ScalingPolicy } from '../../../shared/gen/shoal/v1/autoscale.ts';
import {
  type Answer,
  type Ask,
  ask,
  cpu,
  event,
  list,
  NOW,
  rec,
  S,
  shareIn,
  tasksIn,
} from './support/ask.ts';

/**
 * Facts of HPA v2's behaviours (stabilization windows, rate policies, limits) and of Knative's panic
 * window. The metric is a list with one task for each entry, so that `asked` is what it proposes.
 */
type Behavior = Readonly<{
  up?: readonly ScalingPolicy[];
  down?: readonly ScalingPolicy[];
  select?: string;
  upWindow?: number;
  downWindow?: number;
  min?: number;
  max?: number;
}>;

const UP4 = [tasksIn(4, 60)];
const DOUBLE = [shareIn(1, 60)];
const BOTH = [tasksIn(4, 60), shareIn(1, 60)];

const ROWS: readonly [string, Ask, Answer][] = [
  // ---- limits
  [
    'above the most goes to it at once, without a reading',
    { ...go(12, 12, { max: 10 }), metrics: [failing()] },
    { to: 10, reason: 'above-max' },
  ],
  [
    'below the least goes to it at once, without a reading',
    { ...go(2, 2, { min: 5 }), metrics: [failing()] },
    { to: 5, reason: 'below-min' },
  ],
  [
    'above the most: the rates do not count',
    go(50, 50, { max: 10, down: [tasksIn(1, 60)] }),
    { to: 10, reason: 'above-max' },
  ],
  [
    'below the least: the rates do not count',
    go(1, 1, { min: 50, up: [tasksIn(1, 60)] }),
    { to: 50, reason: 'below-min' },
  ],
  [
    'a rise ends at the most',
    go(5, 50, { max: 20 }),
    { to: 20, reason: 'above-target', says: /asks for 50, the most is 20/ },
  ],
  [
    'a fall ends at the least',
    go(20, 1, { min: 3 }),
    { to: 3, reason: 'below-target', says: /asks for 1, the least is 3/ },
  ],
  ['at the most and more asked for', go(20, 50, { max: 20 }), { to: 20, reason: 'at-max' }],
  ['at the least and less asked for', go(3, 0, { min: 3 }), { to: 3, reason: 'at-min' }],
  [
    'the least and the most the same pin it',
    go(4, 40, { min: 4, max: 4 }),
    { to: 4, reason: 'at-max' },
  ],
  [
    'the least and the most the same pin it from below',
    go(2, 40, { min: 4, max: 4 }),
    { to: 4, reason: 'below-min' },
  ],
  [
    'a most below the least counts as it',
    go(4, 40, { min: 6, max: 4 }),
    { to: 6, reason: 'below-min' },
  ],
  // ---- rates upwards
  ['up 4 in a period', go(10, 100, { up: UP4 }), { to: 14, says: /the rate of change is limited/ }],
  [
    'up 4 in a period, 3 of them gone',
    go(13, 100, { up: UP4 }, { events: [event(30, 3)] }),
    { to: 14 },
  ],
  [
    'up 4 in a period, all of them gone',
    go(14, 100, { up: UP4 }, { events: [event(30, 4)] }),
    { to: 14, reason: 'rate-limited' },
  ],
  [
    'a change older than the period is forgotten',
    go(14, 100, { up: UP4 }, { events: [event(60, 4)] }),
    { to: 18 },
  ],
  [
    'a change one second younger is not',
    go(14, 100, { up: UP4 }, { events: [event(59, 4)] }),
    { to: 14 },
  ],
  [
    'more gone than a new rule allows: no step back',
    go(20, 100, { up: UP4 }, { events: [event(30, 10)] }),
    { to: 20, reason: 'rate-limited' },
  ],
  [
    'what was taken away in the period may come back',
    go(10, 100, { up: UP4 }, { events: [event(30, -5)] }),
    { to: 19 },
  ],
  [
    'up and down in the period count together',
    go(10, 100, { up: UP4 }, { events: [event(40, 3), event(30, -5)] }),
    { to: 16 },
  ],
  ['double in a period', go(10, 100, { up: DOUBLE }), { to: 20 }],
  [
    'double of what was at the beginning',
    go(15, 100, { up: DOUBLE }, { events: [event(30, 5)] }),
    { to: 20 },
  ],
  ['half more of 3 is rounded up', go(3, 100, { up: [shareIn(0.5, 60)] }), { to: 5 }],
  ['a tenth more of 10 is 11', go(10, 100, { up: [shareIn(0.1, 60)] }), { to: 11 }],
  [
    'one percent of 10 is a task all the same',
    go(10, 100, { up: [shareIn(0.01, 60)] }),
    { to: 11 },
  ],
  ['ten times', go(10, 1000, { up: [shareIn(9, 60)], max: 1000 }), { to: 100 }],
  ['of two policies the larger change', go(10, 100, { up: BOTH }), { to: 20 }],
  ['of two policies the larger change, for few', go(2, 100, { up: BOTH }), { to: 6 }],
  ['of two policies the smaller change', go(10, 100, { up: BOTH, select: 'min' }), { to: 14 }],
  [
    'of two policies the smaller change, for few',
    go(2, 100, { up: BOTH, select: 'min' }),
    { to: 4 },
  ],
  [
    'each policy has its period',
    go(14, 100, { up: [tasksIn(4, 15), tasksIn(6, 60)] }, { events: [event(30, 4)] }),
    { to: 18 },
  ],
  [
    'each policy has its period, the smaller change',
    go(
      14,
      100,
      { up: [tasksIn(4, 15), tasksIn(6, 60)], select: 'min' },
      { events: [event(30, 4)] },
    ),
    { to: 16 },
  ],
  [
    'disabled never rises',
    go(10, 100, { up: BOTH, select: 'disabled' }),
    { to: 10, reason: 'rate-limited', says: /disabled/ },
  ],
  ['the rate and the most: the smaller', go(10, 100, { up: BOTH, max: 17 }), { to: 17 }],
  ['a small rise is not limited', go(10, 12, { up: UP4 }), { to: 12, says: /10 -> 12$/ }],
  [
    'a share of none is no change',
    go(10, 100, { up: [shareIn(0, 60)] }),
    { to: 10, reason: 'rate-limited' },
  ],
  // ---- rates downwards
  ['down 4 in a period', go(20, 1, { down: UP4 }), { to: 16 }],
  [
    'down 4 in a period, 3 of them gone',
    go(17, 1, { down: UP4 }, { events: [event(30, -3)] }),
    { to: 16 },
  ],
  [
    'down 4 in a period, all of them gone',
    go(16, 1, { down: UP4 }, { events: [event(30, -4)] }),
    { to: 16, reason: 'rate-limited' },
  ],
  [
    'a decrease older than the period is forgotten',
    go(16, 1, { down: UP4 }, { events: [event(61, -4)] }),
    { to: 12 },
  ],
  [
    'what was added in the period may go',
    go(20, 1, { down: UP4 }, { events: [event(30, 5)] }),
    { to: 11 },
  ],
  ['half in a period', go(20, 1, { down: [shareIn(0.5, 60)] }), { to: 10 }],
  ['half of 5 leaves 2', go(5, 1, { down: [shareIn(0.5, 60)] }), { to: 2 }],
  ['nine tenths of 10 leave 1', go(10, 0, { down: [shareIn(0.9, 60)], min: 1 }), { to: 1 }],
  ['a tenth of 10 leaves 9', go(10, 1, { down: [shareIn(0.1, 60)] }), { to: 9 }],
  ['all may go in a period, as HPA has it', go(50, 1, { down: [shareIn(1, 15)] }), { to: 1 }],
  [
    'of two the larger decrease',
    go(20, 1, { down: [tasksIn(4, 60), shareIn(0.5, 60)] }),
    { to: 10 },
  ],
  [
    'of two the smaller decrease',
    go(20, 1, { down: [tasksIn(4, 60), shareIn(0.5, 60)], select: 'min' }),
    { to: 16 },
  ],
  [
    'disabled never falls',
    go(20, 1, { down: UP4, select: 'disabled' }),
    { to: 20, reason: 'rate-limited' },
  ],
  [
    'the rate and the least: the larger',
    go(20, 1, { down: [shareIn(0.5, 60)], min: 12 }),
    { to: 12 },
  ],
  [
    'more gone than a new rule allows: no step up',
    go(10, 1, { down: UP4 }, { events: [event(30, -10)] }),
    { to: 10, reason: 'rate-limited' },
  ],
  // ---- stabilization
  ['no window: the proposal', go(5, 8, {}), { to: 8 }],
  [
    'down to the most of the window',
    go(10, 2, { downWindow: 300 }, { recommendations: [rec(200, 7), rec(1, 3)] }),
    { to: 7, reason: 'below-target' },
  ],
  [
    'held by a larger one',
    go(7, 2, { downWindow: 300 }, { recommendations: [rec(200, 9), rec(1, 3)] }),
    { to: 7, reason: 'stabilized-down' },
  ],
  [
    'held by an equal one, with the time it ends',
    go(7, 2, { downWindow: 300 }, { recommendations: [rec(290, 7), rec(1, 3)] }),
    {
      to: 7,
      reason: 'stabilized-down',
      says: /^would go to 2, held until 14:00:10 since 7 were recommended at 13:55:10:/,
    },
  ],
  [
    'held on the way to the least',
    go(7, 0, { downWindow: 300, min: 3 }, { recommendations: [rec(290, 7), rec(1, 3)] }),
    { to: 7, reason: 'stabilized-down', says: /^would go to 3, held until 14:00:10/ },
  ],
  [
    'at the least nothing is held',
    go(3, 0, { downWindow: 300, min: 3 }, { recommendations: [rec(290, 7), rec(1, 3)] }),
    { to: 3, reason: 'at-min', says: /^at the least of 3 tasks: .* asks for 0$/ },
  ],
  [
    'of equal ones the younger tells the time',
    go(7, 2, { downWindow: 300 }, { recommendations: [rec(290, 7), rec(100, 7), rec(1, 3)] }),
    { to: 7, says: /recommended at 13:58:20/ },
  ],
  [
    'just out of the window',
    go(7, 2, { downWindow: 300 }, { recommendations: [rec(300, 9), rec(1, 3)] }),
    { to: 3 },
  ],
  [
    'just in the window',
    go(7, 2, { downWindow: 300 }, { recommendations: [rec(299, 9), rec(1, 3)] }),
    { to: 7 },
  ],
  [
    'a window down does not slow a rise',
    go(5, 9, { downWindow: 300 }, { recommendations: [rec(100, 2), rec(1, 2)] }),
    { to: 9 },
  ],
  [
    'a larger one of before raises nothing',
    go(5, 5, { downWindow: 300 }, { recommendations: [rec(100, 9), rec(1, 5)] }),
    { to: 5, reason: 'within-tolerance' },
  ],
  [
    'up to the least of the window',
    go(2, 9, { upWindow: 60 }, { recommendations: [rec(50, 4), rec(1, 8)] }),
    { to: 4, reason: 'above-target' },
  ],
  [
    'held by a smaller one',
    go(5, 9, { upWindow: 60 }, { recommendations: [rec(50, 3), rec(1, 8)] }),
    { to: 5, reason: 'stabilized-up', says: /held until 14:00:10 since 3 were/ },
  ],
  [
    'a smaller one out of the window',
    go(5, 9, { upWindow: 60 }, { recommendations: [rec(60, 3), rec(1, 8)] }),
    { to: 8 },
  ],
  [
    'both windows, up',
    go(
      2,
      9,
      { upWindow: 60, downWindow: 300 },
      { recommendations: [rec(200, 20), rec(50, 4), rec(1, 8)] },
    ),
    { to: 4 },
  ],
  [
    'both windows, down',
    go(
      10,
      2,
      { upWindow: 60, downWindow: 300 },
      { recommendations: [rec(200, 6), rec(50, 4), rec(1, 3)] },
    ),
    { to: 6 },
  ],
  [
    'windows come before rates',
    go(20, 2, { downWindow: 300, down: UP4 }, { recommendations: [rec(200, 8), rec(1, 3)] }),
    { to: 16 },
  ],
  ['rates come before limits', go(10, 90, { up: DOUBLE, max: 15 }), { to: 15 }],
  [
    'a first sight holds what there is',
    go(7, 2, { downWindow: 300 }, { recommendations: [] }),
    { to: 7, reason: 'stabilized-down' },
  ],
  [
    'a gap holds what there is',
    go(7, 2, { downWindow: 300 }, { recommendations: [rec(6, 3)] }),
    { to: 7, reason: 'stabilized-down' },
  ],
  [
    'a first sight does not hold a rise',
    go(7, 9, { downWindow: 300 }, { recommendations: [] }),
    { to: 9 },
  ],
  [
    'a clock that stepped back holds no longer than the window',
    go(7, 2, { downWindow: 300 }, { recommendations: [rec(-5000, 7)] }),
    { to: 7, says: /held until 14:05:00/ },
  ],
];

// ---- the fast window
const FAST: Partial<AutoscaleSpec> = {
  metrics: [cpu(0.5)],
  fast: { disabled: false, windowNs: 2 * S, threshold: 1.5 },
};
const FAST_ROWS: readonly [string, Ask, Answer][] = [
  [
    'above its threshold it raises',
    { spec: FAST, replicas: 2, tasks: [0.5, 0.5], fast: [1, 1] },
    {
      to: 4,
      reason: 'fast-window',
      says: /^cpu at 100 % of a target of 50 % in the fast window over 2 tasks: 2 -> 4$/,
    },
  ],
  [
    'just at its threshold it raises',
    { spec: FAST, replicas: 2, tasks: [0.5, 0.5], fast: [0.75, 0.75] },
    { to: 3, reason: 'fast-window' },
  ],
  [
    'below its threshold it says nothing',
    { spec: FAST, replicas: 2, tasks: [0.5, 0.5], fast: [0.7, 0.7] },
    { to: 2, reason: 'within-tolerance' },
  ],
  [
    'disabled it says nothing',
    {
      spec: { ...FAST, fast: { disabled: true, threshold: 1.5 } },
      replicas: 2,
      tasks: [0.5, 0.5],
      fast: [5, 5],
    },
    { to: 2 },
  ],
  [
    'while open it raises below its threshold too',
    {
      spec: FAST,
      replicas: 2,
      tasks: [0.5, 0.5],
      fast: [0.7, 0.7],
      memory: { fastSinceMs: NOW - 5000 },
    },
    { to: 3, reason: 'fast-window' },
  ],
  [
    'while open nothing falls',
    {
      spec: FAST,
      replicas: 8,
      tasks: Array(8).fill(0.1),
      memory: { fastSinceMs: NOW - 14_000 },
    },
    { to: 8, reason: 'fast-window-holds', says: /held until 14:00:01/ },
  ],
  [
    'a whole stable window later it is closed',
    {
      spec: FAST,
      replicas: 8,
      tasks: Array(8).fill(0.1),
      memory: { fastSinceMs: NOW - 15_000 },
    },
    { to: 2, reason: 'below-target' },
  ],
  [
    'the larger of both windows counts',
    { spec: FAST, replicas: 2, tasks: [2, 2], fast: [1, 1] },
    { to: 8, reason: 'above-target' },
  ],
  [
    'rates hold in it',
    {
      spec: { ...FAST, up: { select: 'max', policies: [tasksIn(1, 15)] } },
      replicas: 2,
      tasks: [0.5, 0.5],
      fast: [5, 5],
    },
    { to: 3, reason: 'fast-window' },
  ],
  [
    'the most holds in it',
    { spec: { ...FAST, max: 3 }, replicas: 2, tasks: [0.5, 0.5], fast: [5, 5] },
    { to: 3, reason: 'fast-window' },
  ],
  [
    'above the most falls while open',
    {
      spec: { ...FAST, max: 3 },
      replicas: 8,
      tasks: Array(8).fill(0.5),
      memory: { fastSinceMs: NOW - 1000 },
    },
    { to: 3, reason: 'above-max' },
  ],
  [
    'starting tasks count as idle in it',
    { spec: FAST, replicas: 3, tasks: [0.5, 'starting', 'starting'], fast: [1] },
    { to: 3, reason: 'within-tolerance' },
  ],
  [
    'a value outside opens it too',
    {
      spec: { ...FAST, metrics: [list(5)] },
      replicas: 2,
      metrics: [{ kind: 'value', value: { stable: 10, fast: 40 } }],
    },
    { to: 8, reason: 'fast-window' },
  ],
  [
    'a sample only in the stable window is enough',
    {
      spec: { ...FAST, metrics: [list(5)] },
      replicas: 2,
      metrics: [{ kind: 'value', value: { stable: 20, fast: undefined } }],
    },
    { to: 4, reason: 'above-target' },
  ],
];

for (const [title, question, answer] of [...ROWS, ...FAST_ROWS]) {
  test(`behaviour: ${title}`, (t) => {
    const { record, replicas } = ask(question);
    t.is(record.to, answer.to, record.message);
    if (answer.reason !== undefined) t.is(record.reason, answer.reason, record.message);
    if (answer.says !== undefined) t.regex(record.message, answer.says);
    t.is(replicas, answer.to);
  });
}

test('a record tells the count after each step', (t) => {
  const { record } = ask(
    go(
      20,
      2,
      { downWindow: 300, down: UP4, min: 17 },
      { recommendations: [rec(200, 8), rec(1, 3)] },
    ),
  );
  t.like(record, { from: 20, to: 17, proposed: 2, stabilized: 8, limited: 16 });
});

test('a change is remembered for the rates, and a recommendation as it was before windows and rates', (t) => {
  const { memory } = ask(go(10, 100, { up: UP4, downWindow: 300 }));
  t.deepEqual(memory.events, [{ atMs: NOW, change: 4 }]);
  t.deepEqual(memory.recommendations, [{ atMs: NOW, replicas: 100 }]);
});

test('the fast window is remembered while it is open', (t) => {
  const open = ask({ spec: FAST, replicas: 2, tasks: [0.5, 0.5], fast: [1, 1] }).memory;
  t.like(open, { fastSinceMs: NOW });
  const closed = ask({
    spec: FAST,
    replicas: 2,
    tasks: [0.5, 0.5],
    memory: { fastSinceMs: NOW - 15_000 },
  }).memory;
  t.like(closed, { fastSinceMs: 0 });
});

function go(replicas: number, asked: number, behavior: Behavior, memory: Ask['memory'] = {}): Ask {
  const { upWindow = 0, downWindow = 0, select = 'max' } = behavior;
  const up = behavior.up ?? [tasksIn(10_000, 1)];
  const down = behavior.down ?? [shareIn(1, 1)];
  return {
    spec: {
      metrics: [list(1)],
      min: behavior.min ?? 1,
      max: behavior.max ?? 100,
      up: { stabilizeNs: upWindow * S, select, policies: [...up] },
      down: { stabilizeNs: downWindow * S, select, policies: [...down] },
    },
    replicas,
    metrics: [asked],
    memory,
  };
}

function failing() {
  return { kind: 'error', error: 'down', failures: 1 } as const;
}
