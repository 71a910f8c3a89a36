import type { ScalingPolicy } from '../gen/shoal/v1/autoscale.ts';
import { parseDuration } from './duration.ts';
import { KIB, MIB, msToNs, NS_PER_MS } from './units.ts';

/** How one kind of value is written by people: `write(read(text))` says the same as `text`. */
export type Words<T> = Readonly<{
  /** undefined: it is not of this kind. */
  read(text: string): T | undefined;
  write(value: T): string;
  /** For `expected ...`, with an example. */
  expected: string;
}>;

const NUMBER = /^\d+(\.\d+)?(e[+-]?\d+)?$/i;

function numberIn(text: string | undefined): number | undefined {
  if (text === undefined || !NUMBER.test(text)) return undefined;
  const value = Number(text);
  return Number.isFinite(value) ? value : undefined;
}

export const word = (...allowed: readonly string[]): Words<string> => ({
  read: (text) => (allowed.includes(text) ? text : undefined),
  write: (value) => value,
  expected: `one of ${allowed.join(', ')}`,
});

export const anyText = (expected: string): Words<string> => ({
  read: (text) => (text.trim() === '' ? undefined : text),
  write: (value) => value,
  expected,
});

export const flag: Words<boolean> = {
  read: (text) => (text === 'true' ? true : text === 'false' ? false : undefined),
  write: String,
  expected: 'true or false',
};

export const count: Words<number> = {
  read(text) {
    const value = /^\d+$/.test(text) ? Number(text) : undefined;
    return Number.isSafeInteger(value) ? value : undefined;
  },
  write: String,
  expected: 'a whole number, like 3',
};

export const amount: Words<number> = {
  read: numberIn,
  write: String,
  expected: 'a number, like 5',
};

/** Nanoseconds. */
export const duration: Words<number> = {
  read(text) {
    const lengthMs = text === '0' ? 0 : parseDuration(text);
    const lengthNs = lengthMs === undefined ? undefined : msToNs(lengthMs);
    return Number.isSafeInteger(lengthNs) ? lengthNs : undefined;
  },
  write: writeDuration,
  expected: 'a duration, like 30s or 5m',
};

const STEPS: readonly (readonly [unit: string, lengthNs: number])[] = [
  ['h', 3_600_000 * NS_PER_MS],
  ['m', 60_000 * NS_PER_MS],
  ['s', 1_000 * NS_PER_MS],
  ['ms', NS_PER_MS],
  ['us', 1_000],
  ['ns', 1],
];

function writeDuration(lengthNs: number): string {
  let rest = lengthNs;
  let text = '';
  for (const [unit, stepNs] of STEPS) {
    const whole = Math.floor(rest / stepNs);
    if (whole > 0) text += `${whole}${unit}`;
    rest -= whole * stepNs;
  }
  return text === '' ? '0s' : text;
}

/** Without the noise of binary fractions in the last digits: 0.07 * 100 is 7.000000000000001. */
const rounded = (value: number) => Number(value.toPrecision(15));

/** `70%`, as 0.7. */
export const percent: Words<number> = {
  read(text) {
    const value = text.endsWith('%') ? numberIn(text.slice(0, -1)) : undefined;
    return value === undefined ? undefined : rounded(value / 100);
  },
  write: (share) => `${rounded(share * 100)}%`,
  expected: 'a percentage, like 70%',
};

/** `10%` or `0.1`. */
export const share: Words<number> = {
  read: (text) => percent.read(text) ?? numberIn(text),
  write: percent.write,
  expected: 'a percentage, like 10%',
};

const SIZES: readonly (readonly [unit: string, bytes: number])[] = [
  ['TiB', MIB * MIB],
  ['GiB', KIB * MIB],
  ['MiB', MIB],
  ['KiB', KIB],
  ['B', 1],
];

/** Bytes. A unit is needed, as nobody means 80 bytes by 80; `m`, `MB` and `MiB` are the same, as in Docker. */
const size: Words<number> = {
  read(text) {
    const match = /^([\d.e+]+?)\s*(?:([kmgt])(?:i?b)?|b)$/i.exec(text);
    const value = numberIn(match?.[1]);
    if (value === undefined) return undefined;
    return value * KIB ** ['', 'k', 'm', 'g', 't'].indexOf((match?.[2] ?? '').toLowerCase());
  },
  write(bytes) {
    const [unit, unitBytes] = SIZES.find(([, each]) => bytes >= each && bytes % each === 0) ?? [
      'B',
      1,
    ];
    return `${bytes / unitBytes}${unit}`;
  },
  expected: 'a size, like 512MiB',
};

/** Bytes per second. */
export const throughput: Words<number> = {
  read: (text) => size.read(text.replace(/\/s$/, '')),
  write: (bytes) => `${size.write(bytes)}/s`,
  expected: 'a rate, like 10MiB/s',
};

const PER_SECONDS: Readonly<Record<string, number>> = { '': 1, s: 1, m: 60, min: 60, h: 3600 };

/** Per second. */
export const rate: Words<number> = {
  read(text) {
    const match = /^([^/]+?)(?:\/(s|m|min|h))?$/.exec(text);
    const value = numberIn(match?.[1]);
    return value === undefined ? undefined : value / (PER_SECONDS[match?.[2] ?? ''] ?? 1);
  },
  write: (perSecond) => `${perSecond}/s`,
  expected: 'a rate, like 200/s',
};

type Target = Readonly<{ utilization: number } | { average: number }>;

/** From here on a bare number of cores is more likely a percentage without its sign. */
const BARE_CORES_BELOW = 10;

const cores: Words<number> = {
  read(text) {
    const match = /^([^a-z]*?)\s*(cores?|m|)$/i.exec(text);
    const value = numberIn(match?.[1]);
    const unit = (match?.[2] ?? '').toLowerCase();
    if (value === undefined) return undefined;
    if (unit === 'm') return value / 1000;
    return unit === '' && value >= BARE_CORES_BELOW ? undefined : value;
  },
  write: (value) => `${value} cores`,
  expected: 'cores, like 0.5 (from 10 on with the word: 12 cores)',
};

function shareOr(absolute: Words<number>): Words<Target> {
  return {
    read(text) {
      const utilization = percent.read(text);
      if (utilization !== undefined) return { utilization };
      const average = absolute.read(text);
      return average === undefined ? undefined : { average };
    },
    write: (target) =>
      'utilization' in target ? percent.write(target.utilization) : absolute.write(target.average),
    expected: `a percentage of what a task reserves, like 70%, or ${absolute.expected}`,
  };
}

export const cpuTarget = shareOr(cores);
export const memoryTarget = shareOr(size);

/** `4/15s,100%/15s`: so many tasks, or so much of the count, in so long. */
export const policies: Words<ScalingPolicy[]> = {
  read(text) {
    const read = text.split(',').map((part) => policy(part.trim()));
    return read.every((one) => one !== undefined) ? read : undefined;
  },
  write: (given) =>
    given
      .map(({ change, periodNs }) => {
        const most =
          change?.$case === 'share' ? percent.write(change.value) : String(change?.value ?? 0);
        return `${most}/${duration.write(periodNs)}`;
      })
      .join(','),
  expected: 'policies, like 4/15s,100%/15s',
};

function policy(text: string): ScalingPolicy | undefined {
  const [most = '', period = '', ...rest] = text.split('/');
  const periodNs = duration.read(period);
  if (periodNs === undefined || rest.length > 0) return undefined;
  const tasks = count.read(most);
  if (tasks !== undefined) return { change: { $case: 'tasks', value: tasks }, periodNs };
  const part = percent.read(most);
  return part === undefined ? undefined : { change: { $case: 'share', value: part }, periodNs };
}
