import fc from 'fast-check';
import type { AutoscaleMetric, AutoscaleSpec } from '../../shared/gen/shoal/v1/autoscale.ts';

const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const text = fc.string({ maxLength: 8 });
const size = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
// JSON has no negative zero.
const share = fc
  .double({ min: 0, max: 1e12, noNaN: true, noDefaultInfinity: true })
  .map((x) => x + 0);

const auth = maybe(
  fc.record({ username: text, passwordSecret: text, tokenSecret: text, caSecret: text }),
);
const target = fc.record({ perReplica: share, activation: share });
const resource = fc.record({ utilization: maybe(share), average: maybe(share) });
const perTask = fc.record({ perReplica: share });
const external = { auth, target };

type Kind = NonNullable<AutoscaleMetric['kind']>;
const ofKind = <K extends Kind['$case']>(
  $case: K,
  value: fc.Arbitrary<Extract<Kind, { $case: K }>['value']>,
) => value.map((made) => ({ $case, value: made }) as Kind);

const kind: fc.Arbitrary<Kind> = fc.oneof(
  ofKind('cpu', resource),
  ofKind('memory', resource),
  ofKind('network', perTask),
  ofKind('pids', perTask),
  ofKind('requests', perTask),
  ofKind('connections', perTask),
  ofKind(
    'redisList',
    fc.record({ address: text, key: text, database: size, tls: fc.boolean(), ...external }),
  ),
  ofKind(
    'redisStream',
    fc.record({
      address: text,
      stream: text,
      group: text,
      database: size,
      tls: fc.boolean(),
      ...external,
    }),
  ),
  ofKind('nats', fc.record({ url: text, stream: text, consumer: text, ...external })),
  ofKind('prometheus', fc.record({ url: text, query: text, ...external })),
  ofKind('http', fc.record({ url: text, path: text, ...external })),
);

const rules = maybe(
  fc.record({
    stabilizeNs: maybe(size),
    select: text,
    policies: fc.array(
      fc.record({
        change: fc.oneof(
          fc.record({ $case: fc.constant('tasks' as const), value: size }),
          fc.record({ $case: fc.constant('share' as const), value: share }),
          fc.constant(undefined),
        ),
        periodNs: size,
      }),
      { maxLength: 2 },
    ),
  }),
);

/** Any, also what no service would be accepted with. */
export const anyAutoscale: fc.Arbitrary<AutoscaleSpec> = fc.record({
  mode: text,
  min: maybe(size),
  max: size,
  metrics: fc.array(fc.record({ name: text, kind: maybe(kind) }), { maxLength: 3 }),
  toleranceUp: maybe(share),
  toleranceDown: maybe(share),
  up: rules,
  down: rules,
  fast: maybe(
    fc.record({ disabled: fc.boolean(), windowNs: maybe(size), threshold: maybe(share) }),
  ),
  warmupNs: maybe(size),
  onError: maybe(fc.record({ after: size, replicas: size })),
  cooldownToZeroNs: maybe(size),
  schedules: fc.array(
    fc.record({ cron: text, forNs: size, min: size, max: maybe(size), timezone: text }),
    { maxLength: 2 },
  ),
});
