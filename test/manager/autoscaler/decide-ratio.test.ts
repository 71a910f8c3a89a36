import test from 'ava';
import {
  type Answer,
  type Ask,
  ask,
  broken,
  cpu,
  list,
  NOW,
  plain,
  requests,
} from './support/ask.ts';

/**
 * Facts of Kubernetes' HPA v2 (replica calculator): what one metric alone, then several, ask for.
 * No window, no rate and no fast window come into it.
 */
const ROWS: readonly [string, Ask, Answer][] = [
  // ---- utilization, all tasks measured
  [
    '3 tasks at 50 % of 30 % need 5',
    up(0.3, 3, [0.3, 0.5, 0.7]),
    { to: 5, reason: 'above-target' },
  ],
  [
    '5 tasks at 28 % of 50 % need 3',
    up(0.5, 5, [0.1, 0.3, 0.5, 0.25, 0.25]),
    { to: 3, reason: 'below-target' },
  ],
  [
    '3 tasks at 102 % of 100 % stay',
    up(1, 3, [1.01, 1.03, 1.02]),
    { to: 3, reason: 'within-tolerance' },
  ],
  ['a target above 100 % is a target', up(1.5, 2, [3, 3]), { to: 4 }],
  ['1 task at 10 times its target needs 10', up(0.1, 1, [1]), { to: 10 }],
  ['1 task of no load stays one', up(0.7, 1, [0]), { to: 1, reason: 'at-min' }],
  [
    '10 tasks of no load go to the least',
    up(0.7, 10, fill(10, 0)),
    { to: 1, reason: 'below-target' },
  ],
  ['a fraction of a task is a task', up(0.7, 3, fill(3, 0.8)), { to: 4 }],
  ['a product that is whole is not rounded up', up(0.7, 10, fill(10, 0.84)), { to: 12 }],
  [
    '1.1 times 10 is 11 though floating point says more',
    up(0.5, 10, fill(10, 0.56), 0),
    { to: 12 },
  ],
  [
    'a load that one task less cannot carry keeps all',
    up(0.7, 2, [0.5, 0.5]),
    { to: 2, reason: 'as-needed' },
  ],
  ['a single task below its target keeps', up(0.7, 1, [0.3]), { to: 1, reason: 'as-needed' }],
  [
    'uneven load counts by its mean',
    up(0.5, 4, [1, 1, 0, 0]),
    { to: 4, reason: 'within-tolerance' },
  ],
  [
    'thousandths count: 70.09 % is 70 %',
    up(0.7, 10, fill(10, 0.7009), 0),
    { to: 10, reason: 'within-tolerance' },
  ],
  [
    'thousandths count: 70.1 % of 70 % without tolerance is too much',
    up(0.7, 10, fill(10, 0.701), 0),
    { to: 11 },
  ],
  [
    'a little of many tasks is not cut to whole percents, which one task could not carry',
    up(0.7, 33, fill(33, 0.0243)),
    { to: 2 },
  ],
  ['a percent that floating point makes 28.999 is 29', up(0.29, 10, fill(10, 0.29), 0), { to: 10 }],
  // ---- tolerance
  ['just at 110 % stays', up(0.7, 10, fill(10, 0.77)), { to: 10, reason: 'within-tolerance' }],
  ['one percent more moves', up(0.7, 10, fill(10, 0.78)), { to: 12, reason: 'above-target' }],
  ['just at 90 % stays', up(0.7, 10, fill(10, 0.63)), { to: 10, reason: 'within-tolerance' }],
  ['one percent less moves', up(0.7, 10, fill(10, 0.62)), { to: 9, reason: 'below-target' }],
  ['a tolerance of 30 % keeps 128 %', up(0.7, 10, fill(10, 0.9), 0.3), { to: 10 }],
  ['a tolerance of 30 % keeps 71 %', up(0.7, 10, fill(10, 0.5), 0.3), { to: 10 }],
  ['a tolerance of none moves at 102 %', up(1, 50, fill(50, 1.02), 0), { to: 51 }],
  [
    'the tolerance upwards says nothing downwards',
    {
      spec: { metrics: [cpu(0.7)], toleranceUp: 0.5, toleranceDown: 0 },
      replicas: 10,
      tasks: fill(10, 0.65),
    },
    { to: 10, reason: 'as-needed' },
  ],
  [
    'the tolerance downwards says nothing upwards',
    {
      spec: { metrics: [cpu(0.5)], toleranceUp: 0, toleranceDown: 0.5 },
      replicas: 10,
      tasks: fill(10, 0.54),
    },
    { to: 11 },
  ],
  [
    'a wide tolerance downwards keeps half the load',
    {
      spec: { metrics: [cpu(0.5)], toleranceUp: 0, toleranceDown: 0.5 },
      replicas: 10,
      tasks: fill(10, 0.25),
    },
    { to: 10, reason: 'within-tolerance' },
  ],
  // ---- tasks that are not ready
  ['a starting task counts as idle upwards', up(0.3, 3, ['starting', 0.5, 0.7]), { to: 4 }],
  [
    'a young task counts as idle upwards though it has samples',
    up(0.3, 3, [{ young: 0.3 }, 0.5, 0.7]),
    { to: 4 },
  ],
  [
    'two starting ones turn the direction: nothing changes',
    up(0.3, 3, [0.4, 'starting', 'starting']),
    { to: 3, reason: 'not-ready' },
  ],
  [
    'two young ones turn the direction: nothing changes',
    up(0.3, 3, [0.4, { young: 0.5 }, { young: 0.7 }]),
    { to: 3, reason: 'not-ready' },
  ],
  [
    'downwards those that are not ready do not count at all',
    up(0.5, 5, [0.1, 0.3, 0.5, 'starting', 'starting']),
    { to: 2 },
  ],
  [
    'downwards young ones do not count at all',
    up(0.5, 5, [0.1, 0.3, 0.5, { young: 0.2 }, { young: 0.2 }]),
    { to: 2 },
  ],
  ['a hot young task alone raises nothing', up(0.5, 2, [{ young: 5 }, 0.5]), { to: 2 }],
  [
    'only young tasks: no samples',
    up(0.5, 2, [{ young: 5 }, { young: 5 }]),
    { to: 2, reason: 'no-samples' },
  ],
  [
    'only starting tasks: no samples',
    up(0.5, 2, ['starting', 'starting']),
    { to: 2, reason: 'no-samples' },
  ],
  [
    'a task without a place counts as idle upwards',
    { ...up(0.3, 3, ['unplaced', 0.5, 0.7]) },
    { to: 4, reason: 'unplaced', held: true },
  ],
  [
    'a starting task within the tolerance changes nothing',
    up(0.7, 3, [0.7, 0.7, 'starting']),
    { to: 3, reason: 'within-tolerance' },
  ],
  [
    'filled in and within the tolerance keeps',
    up(0.5, 3, [0.8, 0.8, 'starting']),
    { to: 3, reason: 'not-ready' },
  ],
  ['more tasks than replicas count as seen', up(0.5, 2, [1, 1, 1]), { to: 6 }],
  [
    'fewer tasks than replicas: what is seen counts',
    up(0.5, 5, [1]),
    { to: 2, reason: 'below-target' },
  ],
  [
    'a decrease never raises, though more tasks than replicas are seen',
    up(1, 2, [0.5, 0.5, 0.5, 'missing', 'missing']),
    { to: 2, reason: 'not-ready' },
  ],
  [
    'an increase never lowers, though fewer tasks than replicas are seen',
    up(0.5, 10, [2, 'starting']),
    { to: 10, reason: 'not-ready' },
  ],
  // ---- missing samples
  [
    'missing ones count as whole downwards',
    up(1, 4, [0.4, 0.095, 'missing', 'missing']),
    { to: 3 },
  ],
  ['at the target missing ones change nothing', up(1, 2, [1, 'missing']), { to: 2 }],
  [
    'missing ones count as idle upwards: 190 % and nothing is 95 %',
    up(1, 2, [1.9, 'missing']),
    { to: 2, reason: 'not-ready' },
  ],
  [
    'missing ones count as whole downwards: 60 % and 100 % need both',
    up(1, 2, [0.6, 'missing']),
    { to: 2 },
  ],
  [
    'a missing and a starting one: the missing one turns a decrease',
    up(0.5, 3, ['starting', 0.45, 'missing'], 0),
    { to: 3, reason: 'not-ready' },
  ],
  [
    'a missing and a starting one upwards are both idle',
    up(0.5, 3, ['starting', 2, 'missing']),
    { to: 4 },
  ],
  ['a missing one softens a decrease', up(0.5, 4, ['starting', 0.1, 0.1, 'missing']), { to: 3 }],
  [
    'with a target above 100 % missing ones count as the target',
    up(2, 4, [0.5, 0.5, 'missing', 'missing']),
    { to: 3 },
  ],
  ['all missing: no samples', up(0.5, 3, fill(3, 'missing')), { to: 3, reason: 'no-samples' }],
  ['no tasks at all: no samples', up(0.5, 3, []), { to: 3, reason: 'no-samples' }],
  [
    '9 of 10 missing upwards: one task cannot speak for ten',
    up(0.5, 10, [4, ...fill(9, 'missing')]),
    { to: 10, reason: 'not-ready' },
  ],
  ['a negative sample is no sample', up(0.5, 2, [-1, -1]), { to: 2, reason: 'no-samples' }],
  [
    'an infinite sample is no sample',
    up(0.5, 2, [Infinity, 0.5]),
    { to: 2, reason: 'within-tolerance' },
  ],
  ['NaN is no sample', up(0.5, 2, [Number.NaN, Number.NaN]), { to: 2, reason: 'no-samples' }],
  // ---- means per task
  ['a mean of 20 of 15 a task', by(15, 3, [20, 10, 30]), { to: 4 }],
  ['a mean of 12 of 20 a task', by(20, 5, fill(5, 12)), { to: 3 }],
  [
    'a mean of 20.333 of 20 a task stays',
    by(20, 3, [20, 20, 21]),
    { to: 3, reason: 'within-tolerance' },
  ],
  [
    'a missing task counts as the target downwards',
    by(100, 4, [20, 20, 'missing', 'missing']),
    { to: 3 },
  ],
  ['a missing task counts as idle upwards', by(100, 2, [300, 'missing']), { to: 3 }],
  [
    'a starting task counts as idle upwards, by requests too',
    by(100, 3, [200, 200, 'starting']),
    { to: 4 },
  ],
  [
    'a young task is believed by requests: they have no warm-up',
    by(100, 2, [{ young: 200 }, { young: 200 }]),
    { to: 4 },
  ],
  ['no requests at all go to the least', by(100, 5, fill(5, 0)), { to: 1 }],
  [
    'CPU in cores needs no reservation',
    {
      spec: { metrics: [{ name: '', kind: { $case: 'cpu', value: { average: 0.5 } } }] },
      replicas: 2,
      tasks: [1, 1],
      input: { request: { cores: undefined, memoryBytes: undefined } },
    },
    { to: 4 },
  ],
  [
    'memory in bytes',
    {
      spec: { metrics: [{ name: '', kind: { $case: 'memory', value: { average: 1000 } } }] },
      replicas: 2,
      tasks: [1500, 1500],
    },
    { to: 3 },
  ],
  [
    'memory as a share',
    {
      spec: { metrics: [{ name: '', kind: { $case: 'memory', value: { utilization: 0.5 } } }] },
      replicas: 2,
      tasks: [2 ** 30, 2 ** 30],
    },
    { to: 4 },
  ],
  [
    'pids',
    {
      spec: { metrics: [{ name: '', kind: { $case: 'pids', value: { perReplica: 10 } } }] },
      replicas: 1,
      tasks: [25],
    },
    { to: 3 },
  ],
  [
    'network',
    {
      spec: { metrics: [{ name: '', kind: { $case: 'network', value: { perReplica: 1e6 } } }] },
      replicas: 1,
      tasks: [3.5e6],
    },
    { to: 4 },
  ],
  [
    'connections',
    {
      spec: { metrics: [{ name: '', kind: { $case: 'connections', value: { perReplica: 100 } } }] },
      replicas: 1,
      tasks: [150],
    },
    { to: 2 },
  ],
  // ---- values outside
  ['8,600 of 2,150 each', out(2150, 3, 8600), { to: 4 }],
  ['8,600 of 3,000 each', out(3000, 5, 8600), { to: 3 }],
  [
    '8,600 of 2,867 each for 3 stays',
    out(2867, 3, 8600),
    { to: 3, reason: 'within-tolerance', says: /at 8600 of 8601 \(2867 a replica\), within 10 %/ },
  ],
  ['42 jobs of 5 each', out(5, 1, 42), { to: 9, reason: 'above-target' }],
  ['an empty queue goes to the least', out(5, 9, 0), { to: 1, reason: 'below-target' }],
  ['10 % more than all can take stays', out(10, 10, 110), { to: 10 }],
  ['a little more moves', out(10, 10, 111), { to: 12 }],
  [
    'tasks that are not ready make no difference to a value',
    { ...out(5, 2, 30), tasks: ['starting', 'starting'] },
    { to: 6 },
  ],
  ['a huge value ends at the most', out(1, 2, 2 ** 53), { to: 100, reason: 'above-target' }],
  [
    'a value not read yet keeps',
    {
      ...out(5, 2, 0),
      metrics: [{ kind: 'value', value: { stable: undefined, fast: undefined } }],
    },
    { to: 2, reason: 'no-samples' },
  ],
  // ---- several metrics
  ['the largest proposal wins', both(3, fill(3, 1), 5), { to: 5 }],
  ['the largest proposal wins, the other way round', both(3, fill(3, 0.1), 25), { to: 5 }],
  [
    'one that stays keeps another from lowering',
    both(3, fill(3, 0.1), 15),
    { to: 3, reason: 'within-tolerance' },
  ],
  ['both below: the larger', both(10, fill(10, 0.1), 20), { to: 4 }],
  [
    'two of a kind by two names',
    { spec: { metrics: [cpu(0.7, 'a'), cpu(0.35, 'b')] }, replicas: 2, tasks: [0.7, 0.7] },
    { to: 4, says: /^b at 70 %/ },
  ],
  // ---- failing metrics
  [
    'a failing one does not block a rise',
    both(3, fill(3, 1.4), broken()),
    { to: 6, reason: 'above-target' },
  ],
  [
    'a failing one blocks a fall',
    both(3, fill(3, 0.1), broken()),
    { to: 3, reason: 'metric-failed', says: /refused/ },
  ],
  [
    'a failing one and steady is steady',
    both(3, fill(3, 0.7), broken()),
    { to: 3, reason: 'within-tolerance' },
  ],
  [
    'all failing keeps',
    { ...out(5, 4, 0), metrics: [broken()] },
    { to: 4, reason: 'metric-failed' },
  ],
  ['one without samples does not block a rise', both(3, fill(3, 'missing'), 40), { to: 8 }],
  [
    'one without samples blocks a fall',
    both(3, fill(3, 'missing'), 5),
    { to: 3, reason: 'no-samples' },
  ],
  [
    'no reservation: utilization cannot be told',
    { ...up(0.7, 3, fill(3, 5)), input: { request: { cores: undefined, memoryBytes: undefined } } },
    { to: 3, reason: 'metric-failed', says: /reserve no CPU/ },
  ],
  [
    'a metric that was read another way is broken',
    { ...up(0.7, 3, fill(3, 5)), metrics: [7] },
    { to: 3, reason: 'metric-failed' },
  ],
  ['a target of none is broken', by(0, 3, fill(3, 5)), { to: 3, reason: 'metric-failed' }],
  [
    'a metric without a kind is broken',
    { spec: { metrics: [{ name: 'x', kind: undefined }] }, replicas: 2, tasks: [1, 1] },
    { to: 2, reason: 'metric-failed' },
  ],
  // ---- fallback
  [
    'a fallback waits for its number of failures',
    { ...fallback(3, 2, 10) },
    { to: 3, reason: 'metric-failed' },
  ],
  ['a fallback raises', { ...fallback(3, 3, 10) }, { to: 10, reason: 'fallback' }],
  ['a fallback never lowers', { ...fallback(12, 9, 10) }, { to: 12, reason: 'fallback' }],
  [
    'a fallback stays within the limits',
    { ...fallback(3, 9, 1000) },
    { to: 100, reason: 'fallback' },
  ],
  [
    'another metric may ask for more than the fallback',
    {
      spec: { metrics: [cpu(0.5), list(5)], onError: { after: 1, replicas: 4 } },
      replicas: 3,
      tasks: fill(3, 1),
      metrics: [undefined, broken()],
    },
    { to: 6, reason: 'above-target' },
  ],
];

for (const [title, question, answer] of ROWS) {
  test(`ratio: ${title}`, (t) => {
    const { record, replicas } = ask(question);
    t.is(record.to, answer.to, record.message);
    if (answer.reason !== undefined) t.is(record.reason, answer.reason, record.message);
    if (answer.says !== undefined) t.regex(record.message, answer.says);
    t.is(record.held, answer.held ?? false);
    t.is(replicas, answer.held ? question.replicas : answer.to);
  });
}

test('a sentence tells the numbers of the decision', (t) => {
  const { record } = ask(up(0.7, 3, fill(3, 0.93)));
  t.is(record.message, 'cpu at 93 % of a target of 70 % over 3 tasks: 3 -> 4');
});

test('a steady service says how far it is from its target', (t) => {
  const { record } = ask(up(0.7, 3, fill(3, 0.68)));
  t.is(record.message, 'steady: cpu at 68 % of 70 %, within 10 %');
});

test('a record has the reading of each metric', (t) => {
  const { record } = ask({ ...both(4, [1, 0.5, 'missing', 'starting'], broken()) });
  t.like(record.metrics[0], {
    name: 'cpu',
    value: 0.75,
    target: 0.7,
    counted: 2,
    missing: 1,
    notReady: 1,
    error: '',
  });
  t.like(record.metrics[1], {
    name: 'redis-list jobs',
    value: undefined,
    error: 'connection refused',
  });
});

test('the rows need no more than the plain spec', (t) => {
  t.true(plain().fast?.disabled);
});

function fill<const T>(count: number, value: T): T[] {
  return Array.from({ length: count }, () => value);
}

test('a clock that steps back makes no task young again', (t) => {
  const task = { id: 'task0', phase: 'ready', readySinceMs: NOW + 60_000 } as const;
  const row = up(0.5, 1, [1]);
  const { replicas, record } = ask({ ...row, input: { tasks: [task] } });
  t.is(replicas, 2, record.message);
});

function up(target: number, replicas: number, tasks: Ask['tasks'], tolerance = 0.1): Ask {
  const spec = { metrics: [cpu(target)], toleranceUp: tolerance, toleranceDown: tolerance };
  return { spec, replicas, tasks: tasks ?? [] };
}

function by(perReplica: number, replicas: number, tasks: Ask['tasks']): Ask {
  return { spec: { metrics: [requests(perReplica)] }, replicas, tasks: tasks ?? [] };
}

function out(perReplica: number, replicas: number, total: number): Ask {
  return { spec: { metrics: [list(perReplica)] }, replicas, metrics: [total] };
}

function both(
  replicas: number,
  tasks: Ask['tasks'],
  value: number | ReturnType<typeof broken>,
): Ask {
  return {
    spec: { metrics: [cpu(0.7), list(5)] },
    replicas,
    tasks: tasks ?? [],
    metrics: [undefined, value],
  };
}

function fallback(replicas: number, failures: number, to: number): Ask {
  const spec = { metrics: [list(5)], onError: { after: 3, replicas: to } };
  return { spec, replicas, metrics: [broken(failures)] };
}

test('no load asks for 0 tasks, and not for -0', (t) => {
  t.is(ask({ replicas: 2, tasks: [0, 0] }).record.proposed, 0);
  t.is(ask({ spec: { metrics: [list(5)] }, replicas: 2, metrics: [0] }).record.proposed, 0);
});
