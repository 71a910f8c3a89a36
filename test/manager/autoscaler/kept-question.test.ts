import test from 'ava';
import { decodeQuestion } from '../../../manager/autoscaler/kept-question.ts';
import { replay } from '../../../manager/autoscaler/replay.ts';
import { ScaleRecord } from '../../../shared/gen/shoal/v1/autoscale.ts';
import { askAndKeep, cpu, requests } from './support/ask.ts';

/** As logs have it that were written before questions were in rows. */
const BY_TASK = {
  spec: {
    mode: 'active',
    min: 1,
    max: 100,
    metrics: [
      {
        name: '',
        kind: {
          $case: 'cpu',
          value: {
            utilization: 0.7,
          },
        },
      },
      {
        name: '',
        kind: {
          $case: 'redisList',
          value: {
            address: 'redis:6379',
            key: 'jobs',
            database: 0,
            tls: false,
            target: {
              perReplica: 5,
              activation: 0,
            },
          },
        },
      },
    ],
    up: {
      stabilizeNs: 0,
      select: 'max',
      policies: [
        {
          change: {
            $case: 'tasks',
            value: 10000,
          },
          periodNs: 1000000000,
        },
      ],
    },
    down: {
      stabilizeNs: 0,
      select: 'max',
      policies: [
        {
          change: {
            $case: 'share',
            value: 1,
          },
          periodNs: 1000000000,
        },
      ],
    },
    fast: {
      disabled: true,
    },
    warmupNs: 30000000000,
    schedules: [],
  },
  memory: {
    recommendations: [
      {
        atMs: 1795269599000,
        replicas: 4,
      },
    ],
    events: [],
    activeAtMs: 1795269600000,
    fastSinceMs: 0,
    fastMost: 0,
    handSinceMs: 0,
    handReplicas: 0,
  },
  input: {
    replicas: 4,
    tasks: [
      {
        id: 'task0',
        phase: 'ready',
        readySinceMs: 1795266000000,
      },
      {
        id: 'task1',
        phase: 'ready',
        readySinceMs: 1795266000000,
      },
      {
        id: 'task2',
        phase: 'starting',
        readySinceMs: 0,
      },
      {
        id: 'task3',
        phase: 'ready',
        readySinceMs: 1795266000000,
      },
    ],
    metrics: [
      {
        kind: 'tasks',
        byTask: {
          task0: {
            stable: 1.1,
            fast: 1.1,
          },
          task3: {
            stable: 0.9,
            fast: 0.9,
          },
        },
      },
      {
        kind: 'value',
        value: {
          stable: 12,
          fast: 12,
        },
      },
    ],
    request: {
      cores: 1,
      memoryBytes: 1073741824,
    },
    updating: false,
    knocks: 0,
  },
};

test('a record of an earlier version is decided again', (t) => {
  const record = ScaleRecord.fromPartial({
    atMs: 1795269600000,
    from: 4,
    to: 4,
    reason: 'not-ready',
    message:
      'steady: cpu at 100 % of a target of 70 % over 2 tasks, 1 without samples, 1 not ready; too little is known of those for a change',
    proposed: 4,
    stabilized: 4,
    limited: 4,
    inputJson: JSON.stringify(BY_TASK),
  });
  t.deepEqual(replay(undefined, [record])[0]?.differs, []);
});

test('a task with two metrics takes less than 80 characters of a question', (t) => {
  const lengthOf = (count: number) => {
    const spec = { metrics: [cpu(0.7), requests(100)] };
    const tasks = Array.from({ length: count }, () => 0.123456);
    return askAndKeep({ spec, replicas: 10, tasks }).inputJson.length;
  };
  const each = (lengthOf(30) - lengthOf(10)) / 20;
  t.true(each < 80, String(each));
});

for (const text of [
  '',
  'null',
  '3',
  '{"spec":{"metrics":[]}}',
  '{"input":{"tasks":[],"metrics":[]}}',
]) {
  test(`what is no question is none: ${text}`, (t) => {
    t.is(decodeQuestion(text), undefined);
  });
}
