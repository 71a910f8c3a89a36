import { ShoalError } from '../../../shared/errors.ts';
import type {
  AutoscaleMetric,
  AutoscaleSchedule,
  AutoscaleSpec,
  ErrorPolicy,
  ExternalTarget,
  FastWindow,
  ResourceTarget,
  ScalingPolicy,
  ScalingRules,
  SourceAuth,
  TaskTarget,
} from '../../../shared/gen/shoal/v1/autoscale.ts';
import {
  type Codec,
  exact,
  type FieldTable,
  flag,
  int64,
  list,
  maybe,
  ratio,
  sparse,
  text,
  uint64,
  via,
} from '../codec.ts';

const resourceTarget = exact<ResourceTarget>({
  utilization: ['Utilization', maybe(ratio)],
  average: ['Average', maybe(ratio)],
});

const taskTarget = exact<TaskTarget>({ perReplica: ['PerReplica', ratio] });

const sourceAuth = exact<SourceAuth>({
  username: ['Username', sparse(text)],
  passwordSecret: ['PasswordSecret', sparse(text)],
  tokenSecret: ['TokenSecret', sparse(text)],
  caSecret: ['CASecret', sparse(text)],
  credentialsSecret: ['CredentialsSecret', sparse(text)],
  certificateSecret: ['CertificateSecret', sparse(text)],
});

type Source = Readonly<{ target: ExternalTarget | undefined; auth?: SourceAuth | undefined }>;

/** A source outside the cluster: its own fields, then who asks and how much a replica is for, side by side. */
function source<T extends Source>(own: FieldTable<Omit<T, 'target' | 'auth'>>): Codec<T> {
  type Wire = Omit<T, 'target'> & ExternalTarget;
  const fields = {
    ...own,
    auth: ['Auth', maybe(sourceAuth)],
    perReplica: ['PerReplica', ratio],
    activation: ['Activation', sparse(ratio)],
  } as unknown as FieldTable<Wire>;
  return via(
    exact<Wire>(fields),
    ({ perReplica, activation, ...rest }) =>
      ({ ...rest, target: { perReplica, activation } }) as unknown as T,
    ({ target, ...rest }) =>
      ({
        ...rest,
        perReplica: target?.perReplica ?? 0,
        activation: target?.activation ?? 0,
      }) as unknown as Wire,
  );
}

type Kind = NonNullable<AutoscaleMetric['kind']>;
type KindName = Kind['$case'];
type ValueOf<K extends KindName> = Extract<Kind, { $case: K }>['value'];
type WireMetric = { name: string } & { [K in KindName]: ValueOf<K> | undefined };

const kinds: { readonly [K in KindName]: readonly [string, Codec<ValueOf<K> | undefined>] } = {
  cpu: ['CPU', maybe(resourceTarget)],
  memory: ['Memory', maybe(resourceTarget)],
  network: ['Network', maybe(taskTarget)],
  pids: ['Pids', maybe(taskTarget)],
  requests: ['Requests', maybe(taskTarget)],
  connections: ['Connections', maybe(taskTarget)],
  redisList: [
    'RedisList',
    maybe(
      source<ValueOf<'redisList'>>({
        address: ['Address', text],
        key: ['Key', text],
        database: ['Database', sparse(uint64)],
        tls: ['TLS', sparse(flag)],
        sentinel: ['Sentinel', sparse(text)],
      }),
    ),
  ],
  redisStream: [
    'RedisStream',
    maybe(
      source<ValueOf<'redisStream'>>({
        address: ['Address', text],
        stream: ['Stream', text],
        group: ['Group', sparse(text)],
        database: ['Database', sparse(uint64)],
        tls: ['TLS', sparse(flag)],
        sentinel: ['Sentinel', sparse(text)],
      }),
    ),
  ],
  nats: [
    'Nats',
    maybe(
      source<ValueOf<'nats'>>({
        url: ['URL', text],
        stream: ['Stream', text],
        consumer: ['Consumer', text],
      }),
    ),
  ],
  prometheus: [
    'Prometheus',
    maybe(source<ValueOf<'prometheus'>>({ url: ['URL', text], query: ['Query', text] })),
  ],
  http: ['HTTP', maybe(source<ValueOf<'http'>>({ url: ['URL', text], path: ['Path', text] }))],
};
const KIND_NAMES = Object.keys(kinds) as KindName[];

const metric: Codec<AutoscaleMetric> = via(
  exact<WireMetric>({ name: ['Name', sparse(text)], ...kinds }),
  (wire, path) => {
    const given = KIND_NAMES.filter((name) => wire[name] !== undefined);
    if (given.length > 1) {
      const names = given.map((name) => kinds[name][0]).join(' and ');
      throw new ShoalError('invalid-argument', `${path} must be of one kind, not of ${names}`);
    }
    const [only] = given;
    const kind = only === undefined ? undefined : ({ $case: only, value: wire[only] } as Kind);
    return { name: wire.name, kind };
  },
  ({ name, kind }) => {
    const none = Object.fromEntries(KIND_NAMES.map((other) => [other, undefined]));
    return { name, ...none, ...(kind && { [kind.$case]: kind.value }) } as unknown as WireMetric;
  },
);

type WirePolicy = {
  tasks: number | undefined;
  share: number | undefined;
  periodNs: number;
};

const policy: Codec<ScalingPolicy> = via(
  exact<WirePolicy>({
    tasks: ['Tasks', maybe(int64)],
    share: ['Share', maybe(ratio)],
    periodNs: ['Period', int64],
  }),
  ({ tasks, share, periodNs }, path): ScalingPolicy => {
    if (tasks !== undefined && share !== undefined) {
      throw new ShoalError('invalid-argument', `${path} must have Tasks or Share, not both`);
    }
    if (tasks !== undefined) return { change: { $case: 'tasks', value: tasks }, periodNs };
    if (share !== undefined) return { change: { $case: 'share', value: share }, periodNs };
    return { change: undefined, periodNs };
  },
  ({ change, periodNs }) => ({
    tasks: change?.$case === 'tasks' ? change.value : undefined,
    share: change?.$case === 'share' ? change.value : undefined,
    periodNs,
  }),
);

const rules = exact<ScalingRules>({
  stabilizeNs: ['Stabilize', maybe(int64)],
  select: ['Select', sparse(text)],
  policies: ['Policies', sparse(list(policy))],
});

const fast = exact<FastWindow>({
  disabled: ['Disabled', sparse(flag)],
  windowNs: ['Window', maybe(int64)],
  threshold: ['Threshold', maybe(ratio)],
});

const onError = exact<ErrorPolicy>({ after: ['After', int64], replicas: ['Replicas', int64] });

const schedule = exact<AutoscaleSchedule>({
  cron: ['Cron', text],
  forNs: ['For', int64],
  min: ['Min', int64],
  max: ['Max', maybe(int64)],
  timezone: ['Timezone', sparse(text)],
});

/**
 * How a service follows its load, in the manner of Docker's specs: durations are nanoseconds, shares 0.7 for 70 %,
 * sizes bytes. No Docker client sends fields of its own here, so that a name it does not know is a slip and refused.
 */
export const autoscaleSpec = exact<AutoscaleSpec>({
  mode: ['Mode', sparse(text)],
  min: ['Min', maybe(int64)],
  max: ['Max', int64],
  metrics: ['Metrics', sparse(list(metric))],
  toleranceUp: ['ToleranceUp', maybe(ratio)],
  toleranceDown: ['ToleranceDown', maybe(ratio)],
  up: ['Up', maybe(rules)],
  down: ['Down', maybe(rules)],
  fast: ['Fast', maybe(fast)],
  warmupNs: ['Warmup', maybe(int64)],
  onError: ['OnError', maybe(onError)],
  cooldownToZeroNs: ['CooldownToZero', maybe(int64)],
  schedules: ['Schedules', sparse(list(schedule))],
});
