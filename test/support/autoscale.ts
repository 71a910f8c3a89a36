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
  fc.record({
    username: text,
    passwordSecret: text,
    tokenSecret: text,
    caSecret: text,
    credentialsSecret: text,
    certificateSecret: text,
  }),
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
    fc.record({
      address: text,
      key: text,
      database: size,
      tls: fc.boolean(),
      sentinel: text,
      ...external,
    }),
  ),
  ofKind(
    'redisStream',
    fc.record({
      address: text,
      stream: text,
      group: text,
      database: size,
      tls: fc.boolean(),
      sentinel: text,
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

const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,9}$/);
const words = fc.stringMatching(/^[!-~]([ -~]{0,8}[!-~])?$/);
const lengthNs = fc.integer({ min: 0, max: 1e15 });
const whole = fc.integer({ min: 0, max: 1e6 });
const part = fc.integer({ min: 1, max: 5000 }).map((permille) => permille / 1000);
const each = fc.double({ min: 1e-3, max: 1e9, noNaN: true });
const bytes = fc.integer({ min: 1, max: 2 ** 50 });
const someTarget = fc.record({ perReplica: each, activation: whole });
const someAuth = maybe(
  fc.record({
    username: words,
    passwordSecret: name,
    tokenSecret: fc.constant(''),
    caSecret: fc.constant(''),
    credentialsSecret: fc.constant(''),
    certificateSecret: name,
  }),
);
const someExternal = { auth: someAuth, target: someTarget };
const resourceOf = (absolute: fc.Arbitrary<number>) =>
  fc.oneof(fc.record({ utilization: part }), fc.record({ average: absolute }));

const perTaskKinds: fc.Arbitrary<AutoscaleMetric>[] = [
  ofKind('cpu', resourceOf(each)),
  ofKind('memory', resourceOf(bytes)),
  ofKind('network', fc.record({ perReplica: bytes })),
  ofKind('pids', fc.record({ perReplica: each })),
  ofKind('requests', fc.record({ perReplica: each })),
  ofKind('connections', fc.record({ perReplica: each })),
].map((made) => fc.record({ name: fc.constant(''), kind: made }));

const redis = {
  address: words,
  database: whole,
  tls: fc.boolean(),
  sentinel: words,
  ...someExternal,
};
const sourceKind: fc.Arbitrary<Kind> = fc.oneof(
  ofKind('redisList', fc.record({ key: words, ...redis })),
  ofKind('redisStream', fc.record({ stream: words, group: maybeEmpty(words), ...redis })),
  ofKind('nats', fc.record({ url: words, stream: words, consumer: words, ...someExternal })),
  ofKind('prometheus', fc.record({ url: words, query: words, ...someExternal })),
  ofKind('http', fc.record({ url: words, path: maybeEmpty(words), ...someExternal })),
);

function maybeEmpty(arbitrary: fc.Arbitrary<string>) {
  return fc.oneof(arbitrary, fc.constant(''));
}

const someRules = maybe(
  fc.record({
    stabilizeNs: lengthNs,
    select: fc.constantFrom('', 'max', 'min', 'disabled'),
    policies: fc.array(
      fc.record({
        change: fc.oneof(
          fc.record({ $case: fc.constant('tasks' as const), value: whole }),
          fc.record({ $case: fc.constant('share' as const), value: part }),
        ),
        periodNs: lengthNs,
      }),
      { maxLength: 2 },
    ),
  }),
);

/** Such as an operator could write down: everything has words. */
export const sensibleAutoscale: fc.Arbitrary<AutoscaleSpec> = fc.record({
  mode: fc.constantFrom('', 'active', 'recommend', 'off'),
  min: maybe(whole),
  max: fc.integer({ min: 1, max: 1e6 }),
  metrics: fc
    .tuple(
      fc.tuple(...perTaskKinds.map((metric) => maybe(metric))),
      fc.uniqueArray(fc.record({ name, kind: sourceKind }), {
        maxLength: 3,
        selector: (metric) => metric.name,
      }),
    )
    .map(([tasks, sources]) => [...tasks.filter((metric) => metric !== undefined), ...sources]),
  toleranceUp: maybe(part),
  toleranceDown: maybe(part),
  up: someRules,
  down: someRules,
  fast: maybe(fc.record({ disabled: fc.boolean(), windowNs: lengthNs, threshold: maybe(part) })),
  warmupNs: maybe(lengthNs),
  onError: maybe(fc.record({ after: whole, replicas: whole })),
  cooldownToZeroNs: maybe(lengthNs),
  schedules: fc.array(
    fc.record({
      cron: words,
      forNs: lengthNs,
      min: whole,
      max: maybe(whole),
      timezone: maybeEmpty(words),
    }),
    { maxLength: 2 },
  ),
});
