import type {
  AutoscaleMetric,
  AutoscaleSchedule,
  AutoscaleSpec,
  ScalingRules,
} from '../gen/shoal/v1/autoscale.ts';
import {
  address,
  COMMON_LEAVES,
  hasLeaf,
  isSource,
  knownNear,
  METRIC_KEYS,
  METRICS,
  type MetricKey,
  PART,
  RULES,
  SCALARS,
  SCHEDULE,
  SINGLE,
  SOURCE_KEYS,
  SOURCES,
  type SourceKey,
  url,
} from './autoscale-keys.ts';
import { amount, count, flag, type Words } from './autoscale-words.ts';
import { nearest } from './nearest.ts';

/** A spec in words: one flat key per leaf, e.g. `cpu` -> `70%`, `redis-list.mails.key` -> `mails`. */
export type Settings = Readonly<Record<string, string>>;

/** Which setting is wrong, and what would be right: `max`, `is missing: ...`. `meant`: the key that it may be a slip of. */
export type SettingError = Readonly<{ key: string; message: string; meant?: string }>;

export type SettingsResult =
  | Readonly<{ ok: true; spec: AutoscaleSpec }>
  | Readonly<{ ok: false; errors: readonly SettingError[] }>;

/**
 * The spec that the settings say, or everything that is wrong with them. Whether the spec makes sense
 * for the service is another question: here the words are read. `max` is needed unless it is off.
 */
export function parseSettings(settings: Settings): SettingsResult {
  const reader = new Reader(settings);
  const spec = reader.spec();
  return reader.errors.length === 0 ? { ok: true, spec } : { ok: false, errors: reader.errors };
}

class Reader {
  readonly errors: SettingError[] = [];
  readonly #settings: Settings;

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  spec(): AutoscaleSpec {
    const { sources, schedules } = this.#grouped();
    const isOff = this.#one('enable', SINGLE.enable) === false;
    const mode = isOff ? 'off' : (this.#one('mode', SINGLE.mode) ?? '');
    const max =
      mode === 'off'
        ? this.#one('max', SINGLE.max)
        : this.#needed('max', SINGLE.max, 'the most replicas there may be, like 20');
    const tolerance = this.#one('tolerance', SINGLE.tolerance);
    return {
      mode,
      min: this.#one('min', SINGLE.min),
      max: max ?? 0,
      metrics: [
        ...METRIC_KEYS.flatMap((key) => this.#metric(key)),
        ...sources.flatMap(({ kind, name }) => this.#source(kind, name)),
      ],
      toleranceUp: this.#one('tolerance.up', SINGLE['tolerance.up']) ?? tolerance,
      toleranceDown: this.#one('tolerance.down', SINGLE['tolerance.down']) ?? tolerance,
      up: this.#rules('up'),
      down: this.#rules('down'),
      fast: this.#fast(),
      warmupNs: this.#one('warmup', SINGLE.warmup),
      onError: this.#onError(),
      cooldownToZeroNs: this.#one('cooldown-to-zero', SINGLE['cooldown-to-zero']),
      schedules: schedules.flatMap((name) => this.#schedule(name)),
    };
  }

  #one<T>(key: string, words: Words<T>): T | undefined {
    const text = Object.hasOwn(this.#settings, key) ? this.#settings[key] : undefined;
    if (text === undefined) return undefined;
    const value = words.read(text.trim());
    if (value === undefined) {
      this.#wrong(key, `${JSON.stringify(text)} is not right: expected ${words.expected}`);
    }
    return value;
  }

  #needed<T>(key: string, words: Words<T>, expected = words.expected): T | undefined {
    if (!Object.hasOwn(this.#settings, key)) this.#wrong(key, `is missing: give ${expected}`);
    return this.#one(key, words);
  }

  #wrong(key: string, message: string): void {
    this.errors.push({ key, message });
  }

  /** Which sources and schedules there are; keys that are none of anything are told. */
  #grouped(): { sources: { kind: SourceKey; name: string }[]; schedules: string[] } {
    const sources = new Map<string, { kind: SourceKey; name: string }>();
    const schedules = new Set<string>();
    for (const key of Object.keys(this.#settings)) {
      if (SCALARS.has(key)) continue;
      const [kind = '', ...rest] = key.split('.');
      const leaf = rest.at(-1) ?? '';
      const name = rest.length === 2 ? (rest[0] ?? '') : '';
      if (rest.length === 2 && !PART.test(name)) this.#unknown(key);
      else if (kind === 'schedule' && rest.length === 2 && Object.hasOwn(SCHEDULE, leaf)) {
        schedules.add(name);
      } else if (isSource(kind) && rest.length >= 1 && rest.length <= 2 && hasLeaf(kind, leaf)) {
        sources.set(`${kind}.${name}`, { kind, name });
      } else this.#unknown(key);
    }
    const order = ({ kind, name }: { kind: SourceKey; name: string }) =>
      `${SOURCE_KEYS.indexOf(kind)} ${name}`;
    return {
      sources: [...sources.values()].sort((a, b) => (order(a) < order(b) ? -1 : 1)),
      schedules: [...schedules].sort(),
    };
  }

  #unknown(key: string): void {
    const meant = nearest(key, knownNear(key));
    this.errors.push({ key, message: 'is unknown', ...(meant !== undefined && { meant }) });
  }

  #metric(key: MetricKey): AutoscaleMetric[] {
    if (key === 'cpu' || key === 'memory') {
      const value = this.#one(key, METRICS[key]);
      return value === undefined ? [] : [{ name: '', kind: { $case: key, value: { ...value } } }];
    }
    const perReplica = this.#one(key, METRICS[key]);
    return perReplica === undefined
      ? []
      : [{ name: '', kind: { $case: key, value: { perReplica } } }];
  }

  #source(kind: SourceKey, name: string): AutoscaleMetric[] {
    const at = (leaf: string) => (name === '' ? `${kind}.${leaf}` : `${kind}.${name}.${leaf}`);
    const text = (leaf: string, words: Words<string>) => this.#needed(at(leaf), words) ?? '';
    const maybe = (leaf: keyof typeof COMMON_LEAVES) =>
      this.#one(at(leaf), COMMON_LEAVES[leaf] as Words<string>) ?? '';
    const perReplica = this.#needed(
      at('per-replica'),
      amount,
      'how much of it one replica is for, like 5',
    );
    const activation = this.#one(at('activation'), amount);
    const auth = {
      username: maybe('username'),
      passwordSecret: maybe('password-secret'),
      tokenSecret: maybe('token-secret'),
      caSecret: maybe('ca-secret'),
      credentialsSecret: maybe('credentials-secret'),
      certificateSecret: maybe('certificate-secret'),
    };
    const common = {
      auth: Object.values(auth).some((given) => given !== '') ? auth : undefined,
      target: { perReplica: perReplica ?? 0, activation: activation ?? 0 },
    };
    const redis = () => ({
      address: text('address', address),
      database: this.#one(at('database'), count) ?? 0,
      tls: this.#one(at('tls'), flag) ?? false,
      sentinel: this.#one(at('sentinel'), SOURCES['redis-list'].sentinel) ?? '',
      ...common,
    });
    switch (kind) {
      case 'redis-list': {
        const value = { ...redis(), key: text('key', SOURCES[kind].key) };
        return [{ name, kind: { $case: 'redisList', value } }];
      }
      case 'redis-stream': {
        const stream = text('stream', SOURCES[kind].stream);
        const group = this.#one(at('group'), SOURCES[kind].group) ?? '';
        return [{ name, kind: { $case: 'redisStream', value: { ...redis(), stream, group } } }];
      }
      case 'nats': {
        const stream = text('stream', SOURCES[kind].stream);
        const consumer = text('consumer', SOURCES[kind].consumer);
        const value = { url: text('url', url), stream, consumer, ...common };
        return [{ name, kind: { $case: 'nats', value } }];
      }
      case 'prometheus': {
        const query = text('query', SOURCES[kind].query);
        const value = { url: text('url', url), query, ...common };
        return [{ name, kind: { $case: 'prometheus', value } }];
      }
      case 'http': {
        const path = this.#one(at('path'), SOURCES[kind].path) ?? '';
        const value = { url: text('url', url), path, ...common };
        return [{ name, kind: { $case: 'http', value } }];
      }
    }
  }

  #rules(way: 'up' | 'down'): ScalingRules | undefined {
    const stabilizeNs = this.#one(`${way}.stabilize`, RULES.stabilize);
    const given = this.#one(`${way}.policies`, RULES.policies);
    const select = this.#one(`${way}.select`, RULES.select);
    if (stabilizeNs === undefined && given === undefined && select === undefined) return undefined;
    return { stabilizeNs, select: select ?? '', policies: given ?? [] };
  }

  #fast(): AutoscaleSpec['fast'] {
    const windowNs = this.#one('fast.window', SINGLE['fast.window']);
    const threshold = this.#one('fast.threshold', SINGLE['fast.threshold']);
    const disabled = this.#one('fast.disable', SINGLE['fast.disable']);
    if (windowNs === undefined && threshold === undefined && disabled === undefined) {
      return undefined;
    }
    return { disabled: disabled ?? false, windowNs, threshold };
  }

  #onError(): AutoscaleSpec['onError'] {
    const keys = ['on-error.after', 'on-error.replicas'] as const;
    if (!keys.some((key) => Object.hasOwn(this.#settings, key))) return undefined;
    const [after, replicas] = keys.map((key) => this.#needed(key, SINGLE[key]) ?? 0);
    return { after: after ?? 0, replicas: replicas ?? 0 };
  }

  #schedule(name: string): AutoscaleSchedule[] {
    const at = (leaf: string) => `schedule.${name}.${leaf}`;
    return [
      {
        cron: this.#needed(at('cron'), SCHEDULE.cron) ?? '',
        forNs: this.#needed(at('for'), SCHEDULE.for) ?? 0,
        min: this.#needed(at('min'), SCHEDULE.min) ?? 0,
        max: this.#one(at('max'), SCHEDULE.max),
        timezone: this.#one(at('timezone'), SCHEDULE.timezone) ?? '',
      },
    ];
  }
}
