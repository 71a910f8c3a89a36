import {
  amount,
  anyText,
  count,
  cpuTarget,
  duration,
  flag,
  memoryTarget,
  policies,
  rate,
  share,
  throughput,
  type Words,
  word,
} from './autoscale-words.ts';

const perTask: Words<number> = amount;
export const METRICS = {
  cpu: cpuTarget,
  memory: memoryTarget,
  network: throughput,
  pids: perTask,
  requests: rate,
  connections: rate,
} as const;
export type MetricKey = keyof typeof METRICS;
export const METRIC_KEYS = Object.keys(METRICS) as MetricKey[];

export const RULES = {
  stabilize: duration,
  policies,
  select: word('max', 'min', 'disabled'),
} as const;

export const SINGLE = {
  enable: flag,
  mode: word('active', 'recommend', 'off'),
  min: count,
  max: count,
  tolerance: share,
  'tolerance.up': share,
  'tolerance.down': share,
  'fast.window': duration,
  'fast.threshold': share,
  'fast.disable': flag,
  warmup: duration,
  'cooldown-to-zero': duration,
  'on-error.after': count,
  'on-error.replicas': count,
} as const;

export const SCHEDULE = {
  cron: anyText('five fields, like 0 8 * * 1-5'),
  for: duration,
  min: count,
  max: count,
  timezone: anyText('an IANA name, like Europe/Paris'),
} as const;

export const address = anyText('host:port, like redis:6379');
export const url = anyText('a URL, like http://prometheus:9090');
const sentinel = anyText('the name of a master');
export const secret = anyText('the name of a secret');
export const COMMON_LEAVES = {
  'per-replica': amount,
  activation: amount,
  username: anyText('a name'),
  'password-secret': secret,
  'token-secret': secret,
  'ca-secret': secret,
  'credentials-secret': secret,
  'certificate-secret': secret,
} as const;
/** Sources outside the cluster: their own leaves, those that they need first. */
export const SOURCES = {
  'redis-list': { address, key: anyText('a key'), database: count, tls: flag, sentinel },
  'redis-stream': {
    address,
    stream: anyText('a stream'),
    group: anyText('a consumer group'),
    database: count,
    tls: flag,
    sentinel,
  },
  nats: { url, stream: anyText('a stream'), consumer: anyText('a consumer') },
  prometheus: { url, query: anyText('a query') },
  http: { url, path: anyText('a path into the answer, like queue.depth') },
} as const;
export type SourceKey = keyof typeof SOURCES;
export const SOURCE_KEYS = Object.keys(SOURCES) as SourceKey[];
export const OPTIONAL_LEAVES: ReadonlySet<string> = new Set([
  'database',
  'tls',
  'sentinel',
  'group',
  'path',
]);

/** Of a schedule or source, in its key. */
export const PART = /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/;

export const SCALARS: ReadonlySet<string> = new Set([
  ...Object.keys(SINGLE),
  ...METRIC_KEYS,
  ...['up', 'down'].flatMap((way) => Object.keys(RULES).map((rule) => `${way}.${rule}`)),
]);

export function isSource(kind: string): kind is SourceKey {
  return Object.hasOwn(SOURCES, kind);
}

export function hasLeaf(kind: SourceKey, leaf: string): boolean {
  return Object.hasOwn(SOURCES[kind], leaf) || Object.hasOwn(COMMON_LEAVES, leaf);
}

/** Whether there may be settings of this key or below it: `up`, `redis-list.mails`. */
export function isKnownPrefix(prefix: string): boolean {
  const [kind = ''] = prefix.split('.', 1);
  if (isSource(kind) || kind === 'schedule') return true;
  return [...SCALARS].some((key) => key === prefix || key.startsWith(`${prefix}.`));
}

/** Every key that could stand where `key` stands: names are the operator's, and kept. */
export function knownNear(key: string): string[] {
  const parts = key.split('.');
  const name = parts.length === 3 ? `.${parts[1]}` : '';
  const leavesOf = (kind: SourceKey) => [
    ...Object.keys(SOURCES[kind]),
    ...Object.keys(COMMON_LEAVES),
  ];
  return [
    ...SCALARS,
    ...SOURCE_KEYS.flatMap((kind) => leavesOf(kind).map((leaf) => `${kind}${name}.${leaf}`)),
    ...(name === '' ? [] : Object.keys(SCHEDULE).map((leaf) => `schedule${name}.${leaf}`)),
  ];
}
