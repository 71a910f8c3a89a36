/**
 * What holds for every decision and every run of decisions, whatever the load, the spec and the leaders do.
 */
import test from 'ava';
import fc from 'fast-check';
import { decide } from '../../../manager/autoscaler/decide.ts';
import { EMPTY_MEMORY, resumeMemory } from '../../../manager/autoscaler/memory.ts';
import { SCALE_REASONS } from '../../../manager/autoscaler/reasons.ts';
import { replay } from '../../../manager/autoscaler/replay.ts';
import type { DecisionInput, MetricInput } from '../../../manager/autoscaler/types.ts';
import { worthRecording } from '../../../manager/autoscaler/worth-recording.ts';
import type {
  AutoscaleSpec,
  ScaleMemory,
  ScaleRecord,
  ScalingPolicy,
  ScalingRules,
} from '../../../shared/gen/shoal/v1/autoscale.ts';
import { WrittenMemory } from '../../support/written-memory.ts';
import {
  ask,
  askAndKeep,
  broken,
  cpu,
  list,
  memory,
  NOW,
  plain,
  requests,
  S,
  type TaskRow,
} from './support/ask.ts';

const load = fc.double({ min: 0, max: 5, noNaN: true });
const policy: fc.Arbitrary<ScalingPolicy> = fc.record({
  change: fc.oneof(
    fc.record({ $case: fc.constant('tasks' as const), value: fc.integer({ min: 1, max: 10 }) }),
    fc.record({
      $case: fc.constant('share' as const),
      value: fc.integer({ min: 1, max: 20 }).map((n) => n / 10),
    }),
  ),
  periodNs: fc.integer({ min: 1, max: 60 }).map((seconds) => seconds * S),
});
const rules = (shares: number): fc.Arbitrary<ScalingRules> =>
  fc.record({
    stabilizeNs: fc.integer({ min: 0, max: 60 }).map((seconds) => seconds * S),
    select: fc.constantFrom('', 'max', 'min', 'disabled'),
    policies: fc
      .array(policy, { maxLength: 2 })
      .map((found) => found.map((each) => capped(each, shares))),
  });
const spec: fc.Arbitrary<AutoscaleSpec> = fc
  .record({
    mode: fc.constantFrom('', 'active'),
    min: fc.integer({ min: 0, max: 6 }),
    room: fc.integer({ min: 0, max: 30 }),
    metrics: fc.uniqueArray(fc.constantFrom(cpu(0.7), requests(0.5), list(3)), { maxLength: 3 }),
    up: fc.option(rules(20), { nil: undefined }),
    down: fc.option(rules(1), { nil: undefined }),
    fast: fc.constantFrom(undefined, { disabled: true }, { disabled: false, threshold: 1.5 }),
  })
  .map(({ room, ...rest }) => ({ ...rest, max: Math.max(1, rest.min + room), schedules: [] }));
const taskRow: fc.Arbitrary<TaskRow> = fc.oneof(
  { weight: 6, arbitrary: load },
  {
    weight: 1,
    arbitrary: fc.constantFrom('missing' as const, 'starting' as const, 'unplaced' as const),
  },
  { weight: 1, arbitrary: load.map((young) => ({ young })) },
);
const metric: fc.Arbitrary<MetricInput | undefined> = fc.oneof(
  fc.constant(undefined),
  fc.record({
    kind: fc.constant('value' as const),
    value: fc.record({ stable: load, fast: load }),
  }),
  fc.constant(broken(2)),
);
const remembered: fc.Arbitrary<Partial<ScaleMemory>> = fc.record({
  recommendations: fc.array(
    fc.record({ atMs: fc.integer({ min: NOW - 90_000, max: NOW + 5000 }), replicas: fc.nat(40) }),
    { maxLength: 8 },
  ),
  events: fc.array(
    fc.record({
      atMs: fc.integer({ min: NOW - 90_000, max: NOW }),
      change: fc.integer({ min: -9, max: 9 }),
    }),
    { maxLength: 8 },
  ),
  activeAtMs: fc.integer({ min: NOW - 400_000, max: NOW }),
  fastSinceMs: fc.oneof(fc.constant(0), fc.integer({ min: NOW - 20_000, max: NOW })),
});
const question = fc.record({
  spec,
  replicas: fc.nat(40),
  tasks: fc.array(taskRow, { maxLength: 12 }),
  metrics: fc.array(metric, { minLength: 3, maxLength: 3 }),
  fast: fc.array(load, { maxLength: 12 }),
  memory: remembered,
  input: fc.record({
    setReplicas: fc.option(fc.nat(5), { nil: undefined }),
    updating: fc.boolean(),
    knocks: fc.nat(3),
  }),
});

test('no decision is outside of the limits, and each has a reason and a sentence', (t) => {
  fc.assert(
    fc.property(question, (asked) => {
      const { record, replicas, memory: next } = ask(asked);
      const { min = 1, max } = asked.spec;
      if (replicas !== asked.replicas) {
        t.true(replicas >= min && replicas <= max && !record.held && replicas === record.to);
      }
      t.true((SCALE_REASONS as readonly string[]).includes(record.reason));
      t.true(
        record.message.length > 10 && !/NaN|undefined|Infinity/.test(record.message),
        record.message,
      );
      t.true(
        [record.to, record.proposed, record.stabilized, record.limited].every(Number.isInteger),
      );
      t.true(next.recommendations.every(({ replicas: count }) => Number.isInteger(count)));
    }),
    { numRuns: 2000 },
  );
});

test('the same question has the same answer, and does not change', (t) => {
  fc.assert(
    fc.property(question, (asked) => {
      const before = structuredClone(asked);
      t.deepEqual(ask(asked), ask(asked));
      t.deepEqual(asked, before);
    }),
    { numRuns: 300 },
  );
});

test('recommend never changes anything', (t) => {
  fc.assert(
    fc.property(question, (asked) => {
      const { replicas } = ask({ ...asked, spec: { ...asked.spec, mode: 'recommend' } });
      t.is(replicas, asked.replicas);
    }),
    { numRuns: 1000 },
  );
});

test('without any sample nothing is decided, but that what never got ready is given up', (t) => {
  const unseen = fc.array(fc.constantFrom('missing' as const, 'starting' as const), {
    maxLength: 9,
  });
  fc.assert(
    fc.property(question, unseen, fc.integer({ min: 1, max: 6 }), (asked, tasks, over) => {
      const replicas = (asked.spec.min ?? 1) + (asked.spec.min === 0 ? over : 0);
      const metrics = [cpu(0.7), requests(100)];
      const row = {
        ...asked,
        replicas,
        tasks,
        metrics: [],
        spec: { ...asked.spec, max: 40, metrics },
      };
      const { record, replicas: decided } = ask(row);
      const isNoneReady = tasks.length > 0 && tasks.every((task) => task === 'starting');
      const givesUp = record.reason === 'to-zero' && isNoneReady && row.spec.min === 0;
      t.true(decided === replicas || givesUp, `${replicas} -> ${decided}: ${record.message}`);
    }),
    { numRuns: 5000 },
  );
});

test('more load never gives fewer replicas', (t) => {
  const loads = fc.array(load, { minLength: 1, maxLength: 12 });
  const more = fc.array(fc.double({ min: 0, max: 3, noNaN: true }), {
    minLength: 12,
    maxLength: 12,
  });
  fc.assert(
    fc.property(question, loads, more, load, (asked, tasks, added, value) => {
      const metrics = [cpu(0.7), list(3)];
      const base = { ...asked, replicas: tasks.length, spec: { ...asked.spec, metrics }, fast: [] };
      const first = ask({ ...base, tasks, metrics: [undefined, value] });
      const larger = tasks.map((each, index) => each + (added[index] ?? 0));
      const second = ask({ ...base, tasks: larger, metrics: [undefined, value + (added[0] ?? 0)] });
      t.true(
        second.record.to >= first.record.to,
        `${first.record.message} | ${second.record.message}`,
      );
    }),
    { numRuns: 2000 },
  );
});

test('one more metric that fails never makes a count smaller, and never stops a rise', (t) => {
  fc.assert(
    fc.property(question, fc.nat(3), (asked, where) => {
      const own = asked.spec.metrics.length === 0 ? [cpu(0.7)] : asked.spec.metrics;
      const at = Math.min(where, own.length);
      const metrics = own.toSpliced(at, 0, list(3, 0, 'broken'));
      const given = asked.metrics.slice(0, own.length).toSpliced(at, 0, broken());
      const without = ask({ ...asked, spec: { ...asked.spec, metrics: own } });
      const broke = ask({ ...asked, spec: { ...asked.spec, metrics }, metrics: given });
      t.true(
        broke.record.to >= without.record.to,
        `${without.record.message} | ${broke.record.message}`,
      );
      if (without.replicas > asked.replicas) t.is(broke.replicas, without.replicas);
    }),
    { numRuns: 2000 },
  );
});

/** Decides once a second with a load that is spread over the tasks, each ready at once. */
class Run {
  nowMs = NOW;
  replicas: number;
  memory: ScaleMemory = EMPTY_MEMORY;
  readonly spec: AutoscaleSpec;
  readonly counts: number[] = [];
  readonly records: ScaleRecord[] = [];

  constructor(of: AutoscaleSpec, replicas: number) {
    this.spec = of;
    this.replicas = replicas;
  }

  #each<T>(value: T): T[] {
    return Array.from({ length: this.replicas }, () => value);
  }

  second(total: number): ScaleRecord {
    this.nowMs += 1000;
    const mean = total / this.replicas;
    const input: DecisionInput = {
      replicas: this.replicas,
      setReplicas: undefined,
      tasks: this.#each({ phase: 'ready', readySinceMs: 1 }),
      metrics: this.spec.metrics.map(({ kind }): MetricInput => {
        if (kind?.$case === 'redisList')
          return { kind: 'value', value: { stable: total, fast: total } };
        return {
          kind: 'tasks',
          loads: this.#each({ stable: mean, fast: mean }),
        };
      }),
      request: { cores: 1, memoryBytes: undefined },
      updating: false,
      knocks: 0,
    };
    const decision = decide(this.spec, this.memory, input, this.nowMs);
    this.memory = decision.memory;
    this.replicas = decision.replicas;
    this.counts.push(this.replicas);
    this.records.push(decision.record);
    return decision.record;
  }
}

test('a constant load reaches a count within five minutes and stays at it', (t) => {
  const total = fc.double({ min: 0, max: 30, noNaN: true });
  fc.assert(
    fc.property(total, fc.integer({ min: 1, max: 40 }), (cores, from) => {
      const it = new Run({ mode: '', max: 40, metrics: [cpu(0.7)], schedules: [] }, from);
      for (let i = 0; i < 300; i++) it.second(cores);
      const reached = it.replicas;
      for (let i = 0; i < 300; i++) it.second(cores);
      t.deepEqual(new Set(it.counts.slice(300)), new Set([reached]));
      // Enough for the load but for the tolerance, and not one more than it needs but for the tolerance.
      t.true(cores / reached <= 0.7 * 1.1 + 0.001 || reached === 40);
      t.true(reached === 1 || cores / (reached - 1) >= 0.7 * 0.9 - 0.001);
      const directions = it.counts.map((count, i) => Math.sign(count - (it.counts[i - 1] ?? from)));
      t.true(!(directions.includes(1) && directions.includes(-1)), 'it went one way only');
    }),
    { numRuns: 60 },
  );
});

test('nothing is lowered or raised against what was recommended in a window, whatever leaders come', (t) => {
  const windowMs = 60_000;
  const upWindowMs = 3_000;
  const tuned = plain({
    max: 60,
    metrics: [list(1)],
    up: {
      select: 'min',
      policies: [{ change: { $case: 'tasks', value: 7 }, periodNs: 4 * S }],
      stabilizeNs: 3 * S,
    },
    down: { select: '', policies: [], stabilizeNs: 60 * S },
    fast: { disabled: false, threshold: 1.5 },
  });
  const event = fc.oneof(
    {
      weight: 12,
      arbitrary: fc.record({ seconds: fc.integer({ min: 1, max: 60 }), total: fc.nat(50) }),
    },
    { weight: 2, arbitrary: fc.constantFrom('lost' as const, 'reloaded' as const) },
  );
  fc.assert(
    fc.property(
      fc.array(event, { maxLength: 30 }),
      fc.integer({ min: 1, max: 40 }),
      (events, from) => {
        const it = new Run(tuned, from);
        const written = new WrittenMemory();
        // What leaders before recommended is known of decreases only.
        let ledSinceMs = 0;
        const recommended: { atMs: number; replicas: number }[] = [];
        for (const each of events) {
          if (typeof each === 'string') ledSinceMs = it.nowMs;
          if (each === 'lost') it.memory = EMPTY_MEMORY;
          else if (each === 'reloaded') it.memory = written.resumed(it.replicas, it.nowMs);
          else {
            for (let i = 0; i < each.seconds; i++) {
              const record = it.second(each.total);
              recommended.push({ atMs: it.nowMs, replicas: record.proposed });
              written.decided({ record, memory: it.memory, replicas: it.replicas }, it.nowMs);
              if (record.to > record.from) {
                const young = recommended.filter(
                  ({ atMs }) => it.nowMs - atMs < upWindowMs && atMs > ledSinceMs,
                );
                const least = Math.min(...young.map(({ replicas }) => replicas));
                t.true(
                  record.to <= Math.max(least, 1),
                  `${record.message}, but ${least} was recommended`,
                );
              }
              if (record.to >= record.from) continue;
              const young = recommended.filter(({ atMs }) => it.nowMs - atMs < windowMs);
              const most = Math.max(...young.map(({ replicas }) => replicas));
              t.true(
                record.to >= Math.min(most, 60),
                `${record.message}, but ${most} was recommended`,
              );
            }
          }
        }
      },
    ),
    { numRuns: 300 },
  );
});

test('a window that runs while leaders come and go ends as with one, and what they write is bounded', (t) => {
  const windowMs = 90_000;
  const down = { select: '', policies: [], stabilizeNs: 90 * S };
  const tuned = plain({ max: 60, metrics: [list(1)], down });
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 35, max: 70 }), { minLength: 6, maxLength: 10 }),
      fc.integer({ min: 0, max: 3 }),
      (leaders, noise) => {
        const it = new Run(tuned, 30);
        const written = new WrittenMemory();
        for (const seconds of [60, ...leaders]) {
          for (let i = 0; i < seconds; i++) {
            const total = it.nowMs < NOW + 60_000 ? 30 : 9 - (i % (noise + 1));
            written.decided(
              { record: it.second(total), memory: it.memory, replicas: it.replicas },
              it.nowMs,
            );
          }
          it.memory = written.resumed(it.replicas, it.nowMs);
        }
        const lowered = it.counts.findIndex((count) => count <= 9);
        t.is(it.counts.indexOf(9), lowered, 'what was recommended meanwhile is not forgotten');
        // The last of the load, the window, a ceiling that was not yet written, the gap to the next leader.
        t.true(lowered > 60 + windowMs / 1000 - 2 && lowered <= 60 + 90 + 30 + 70, String(lowered));
        t.true(written.writes <= 4 + (2 * it.counts.length) / 30, String(written.writes));
      },
    ),
    { numRuns: 100 },
  );
});

test('rates hold over every period that ends with a change', (t) => {
  const directed = fc.record({
    select: fc.constantFrom('max', 'min'),
    policies: fc.array(policy, { minLength: 1, maxLength: 2 }),
  });
  const loads = fc.array(
    fc.record({ seconds: fc.integer({ min: 1, max: 20 }), total: fc.nat(300) }),
    {
      maxLength: 20,
    },
  );
  fc.assert(
    fc.property(directed, directed, loads, (upwards, downwards, phases) => {
      const up = { ...upwards, stabilizeNs: 0 };
      const policies = downwards.policies.map((each) => capped(each, 1));
      const down = { ...downwards, policies, stabilizeNs: 0 };
      const it = new Run(plain({ max: 300, metrics: [list(1)], up, down }), 5);
      const at: number[] = [5];
      for (const { seconds, total } of phases) {
        for (let i = 0; i < seconds; i++) {
          it.second(total);
          const count = it.replicas;
          const before = at.at(-1) ?? 5;
          at.push(count);
          const rule = count > before ? up : down;
          if (count === before) continue;
          const allowed = rule.policies.map(({ change, periodNs }) => {
            const start = at[Math.max(0, at.length - 1 - periodNs / S)] ?? 5;
            const sign = count > before ? 1 : -1;
            const value = change?.value ?? 0;
            if (change?.$case === 'tasks') return start + sign * value;
            const exact = Math.round(start * (1 + sign * value) * 1e6) / 1e6;
            return sign > 0 ? Math.ceil(exact) : Math.floor(exact);
          });
          const widest = count > before === (rule.select === 'max') ? Math.max : Math.min;
          const limit = widest(...allowed);
          const ok = count > before ? count <= limit : count >= Math.max(1, limit);
          t.true(ok, `${before} -> ${count}, allowed ${limit}`);
        }
      }
    }),
    { numRuns: 200 },
  );
});

test('the memory stays small through hours of change', (t) => {
  const it = new Run(
    plain({
      max: 5000,
      metrics: [list(1)],
      up: {
        stabilizeNs: 600 * S,
        select: '',
        policies: [{ change: { $case: 'tasks', value: 9 }, periodNs: 1800 * S }],
      },
      down: { stabilizeNs: 3600 * S, select: '', policies: [] },
    }),
    5,
  );
  for (let i = 0; i < 4000; i++) it.second(2500 + 2400 * Math.cos(i / 700) + (i % 7));
  t.true(it.memory.recommendations.length <= 100, String(it.memory.recommendations.length));
  t.true(it.memory.events.length <= 100, String(it.memory.events.length));
});

test('each record can be decided again from what it keeps, and a changed one shows', (t) => {
  fc.assert(
    fc.property(question, (asked) => {
      const record = askAndKeep(asked);
      const [again] = replay(undefined, [structuredClone(record)]);
      t.deepEqual(again?.differs, []);
      t.deepEqual(again?.again, { ...record, inputJson: '' });
    }),
    { numRuns: 300 },
  );
  const record = askAndKeep({ replicas: 3, tasks: [1, 1, 1] });
  t.deepEqual(replay(undefined, [{ ...record, to: 9 }])[0]?.differs, ['to']);
  t.deepEqual(replay(undefined, [{ ...record, inputJson: 'no' }])[0]?.differs, ['input']);
  t.deepEqual(replay(undefined, [{ ...record, inputJson: '{}' }])[0]?.differs, ['input']);
  const other = replay(plain({ metrics: [cpu(0.35)] }), [record])[0];
  t.deepEqual([other?.differs.includes('to'), other?.again?.to], [true, 9]);
});

test('changes are worth a record, reasons that take turns are not each time', (t) => {
  const at = (seconds: number, over: Partial<ScaleRecord>): ScaleRecord => ({
    ...ask({ replicas: 3, tasks: [0.7, 0.7, 0.7] }).record,
    atMs: NOW + seconds * 1000,
    ...over,
  });
  const steady = at(0, {});
  t.true(worthRecording(undefined, steady));
  t.false(worthRecording(steady, at(3600, {})));
  t.true(worthRecording(steady, at(1, { to: 4, reason: 'above-target' })));
  t.false(worthRecording(steady, at(59, { reason: 'stabilized-down' })));
  t.true(worthRecording(steady, at(60, { reason: 'stabilized-down' })));
  t.false(worthRecording(steady, at(9, { reason: 'metric-failed' })));
  t.true(worthRecording(steady, at(10, { reason: 'metric-failed' })));
  const held = at(0, { to: 2, held: true, reason: 'updating' });
  t.false(worthRecording(held, at(100, { to: 2, held: true, reason: 'updating' })));
  t.true(worthRecording(held, at(10, { to: 1, held: true, reason: 'updating' })));
});

test('a resumed memory counts what there is as recommended and as active, and a service at none as neither', (t) => {
  t.like(resumeMemory(undefined, 4, NOW), {
    recommendations: [{ atMs: NOW, replicas: 4 }],
    activeAtMs: NOW,
  });
  t.deepEqual(resumeMemory(memory({ activeAtMs: 5 }), 0, NOW), memory({ activeAtMs: 5 }));
  const vouched = (ceiling: number) => resumeMemory(memory({ ceiling }), 4, NOW);
  t.deepEqual(vouched(2).recommendations, [{ atMs: NOW, replicas: 2 }]);
  t.deepEqual(vouched(9).recommendations, [{ atMs: NOW, replicas: 4 }], 'lowered by hand since');
  t.is(vouched(2).ceiling, undefined, 'it is of what was written');
});

function capped(found: ScalingPolicy, shares: number): ScalingPolicy {
  const { change } = found;
  if (change?.$case !== 'share') return found;
  return { ...found, change: { $case: 'share', value: Math.min(change.value, shares) } };
}
