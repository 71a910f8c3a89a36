import type { AutoscaleSchedule } from '../../shared/gen/shoal/v1/autoscale.ts';
import { nsToMs } from '../../shared/model/units.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
/** Zones set their clocks back by an hour, and by no more than this. */
const MOST_SET_BACK_MS = 3 * 60 * MINUTE_MS;

/** What each of cron's five fields allows. */
export type Cron = Readonly<{
  minutes: ReadonlySet<number>;
  hours: ReadonlySet<number>;
  days: ReadonlySet<number>;
  months: ReadonlySet<number>;
  /** 0 is Sunday. */
  weekdays: ReadonlySet<number>;
  /** Both the day of the month and that of the week are restricted: then one of them is enough. */
  eitherDay: boolean;
}>;

const MONTHS = 'jan feb mar apr may jun jul aug sep oct nov dec'.split(' ');
const WEEKDAYS = 'sun mon tue wed thu fri sat'.split(' ');

/**
 * Vixie cron's grammar: five fields with `*`, lists, ranges, steps, names of months and weekdays, 7 for
 * Sunday. Undefined when it is not of it.
 */
export function parseCron(text: string): Cron | undefined {
  const fields = text.trim().toLowerCase().split(/\s+/);
  const [minute, hour, day, month, weekday] = fields;
  if (
    fields.length !== 5 ||
    minute === undefined ||
    hour === undefined ||
    day === undefined ||
    month === undefined ||
    weekday === undefined
  ) {
    return undefined;
  }
  const minutes = parseField(minute, 0, 59, []);
  const hours = parseField(hour, 0, 23, []);
  const days = parseField(day, 1, 31, []);
  const months = parseField(month, 1, 12, MONTHS);
  const weekdays = parseField(weekday, 0, 7, WEEKDAYS);
  if (!(minutes && hours && days && months && weekdays)) return undefined;
  if (weekdays.has(7)) weekdays.add(0);
  const eitherDay = !day.startsWith('*') && !weekday.startsWith('*');
  return { minutes, hours, days, months, weekdays, eitherDay };
}

function parseField(
  text: string,
  low: number,
  high: number,
  names: readonly string[],
): Set<number> | undefined {
  const values = new Set<number>();
  const number = (word: string): number => {
    const named = names.indexOf(word);
    if (named >= 0) return named + low;
    return /^\d{1,2}$/.test(word) ? Number(word) : Number.NaN;
  };
  for (const part of text.split(',')) {
    const [, range = '', step] = /^([^/]+)(?:\/(\d{1,2}))?$/.exec(part) ?? [];
    const [first = '', last, ...rest] = range.split('-');
    const all = range === '*';
    const from = all ? low : number(first);
    const single = last === undefined && step === undefined;
    const to = all ? high : last !== undefined ? number(last) : single ? from : high;
    const by = step === undefined ? 1 : Number(step);
    // Written so that NaN, which no comparison is true of, is refused as well.
    const sound = from >= low && to <= high && from <= to && by >= 1 && rest.length === 0;
    if (!sound) return undefined;
    for (let value = from; value <= to; value += by) values.add(value);
  }
  return values;
}

/** Whether the runtime knows the IANA name; the empty one stands for UTC. */
export function isTimeZone(name: string): boolean {
  try {
    formatterOf(name);
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/**
 * When the schedule fired last, milliseconds since 1970; undefined when that is `for` or longer ago.
 * A local time that is skipped when clocks go forward fires an hour later, one that comes twice fires at
 * the first.
 */
export function inForceSince(schedule: AutoscaleSchedule, nowMs: number): number | undefined {
  const cron = cronOf(schedule.cron);
  if (cron === undefined || !isTimeZone(schedule.timezone)) return undefined;
  const forMs = nsToMs(schedule.forNs);
  const localNowMs = latestLocalMs(schedule.timezone, nowMs);
  const today = Math.floor(localNowMs / DAY_MS);
  // A day more than `for` covers: the length of a day changes with the clocks.
  const first = Math.floor((localNowMs - forMs) / DAY_MS) - 1;
  for (let day = today; day >= first; day--) {
    if (!matchesDay(cron, day)) continue;
    for (let hour = 23; hour >= 0; hour--) {
      if (!cron.hours.has(hour)) continue;
      for (let minute = 59; minute >= 0; minute--) {
        if (!cron.minutes.has(minute)) continue;
        const localMs = day * DAY_MS + (hour * 60 + minute) * MINUTE_MS;
        if (localMs > localNowMs) continue;
        const firedMs = toUtc(schedule.timezone, localMs);
        if (firedMs <= nowMs) return nowMs - firedMs < forMs ? firedMs : undefined;
      }
    }
  }
  return undefined;
}

function matchesDay(cron: Cron, day: number): boolean {
  const date = new Date(day * DAY_MS);
  if (!cron.months.has(date.getUTCMonth() + 1)) return false;
  const byDate = cron.days.has(date.getUTCDate());
  const byWeekday = cron.weekdays.has(date.getUTCDay());
  return cron.eitherDay ? byDate || byWeekday : byDate && byWeekday;
}

/** The latest local time that has been: just after clocks went back it is later than the present one. */
function latestLocalMs(timezone: string, nowMs: number): number {
  const before = offsetMs(timezone, nowMs - MOST_SET_BACK_MS);
  return nowMs + Math.max(before, offsetMs(timezone, nowMs));
}

function toUtc(timezone: string, localMs: number): number {
  // The offset before the change, if there is one near: the first of two equal local times.
  const before = offsetMs(timezone, localMs - DAY_MS);
  const candidate = localMs - before;
  if (offsetMs(timezone, candidate) === before) return candidate;
  const after = offsetMs(timezone, candidate);
  const moved = localMs - after;
  // A skipped local time is none by either offset; by the old one it is as much later as was skipped.
  return offsetMs(timezone, moved) === after ? moved : candidate;
}

// ---- remembered answers: the same question has the same answer ------------------------------

const MOST_REMEMBERED = 1_000;
const crons = new Map<string, Cron | undefined>();
const formatters = new Map<string, Intl.DateTimeFormat>();
const offsets = new Map<string, number>();

function cronOf(text: string): Cron | undefined {
  if (crons.has(text)) return crons.get(text);
  return keep(crons, text, parseCron(text));
}

function formatterOf(timezone: string): Intl.DateTimeFormat {
  const known = formatters.get(timezone);
  if (known) return known;
  const made = new Intl.DateTimeFormat('en-US', {
    timeZone: timezone === '' ? 'UTC' : timezone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  });
  return keep(formatters, timezone, made);
}

/** What local time is ahead of UTC. Zones change it at quarters of an hour only. */
function offsetMs(timezone: string, utcMs: number): number {
  if (timezone === '' || timezone === 'UTC') return 0;
  const quarter = Math.floor(utcMs / (15 * MINUTE_MS));
  const key = `${quarter} ${timezone}`;
  const known = offsets.get(key);
  if (known !== undefined) return known;
  const atMs = quarter * 15 * MINUTE_MS;
  const part: Record<string, number> = {};
  for (const { type, value } of formatterOf(timezone).formatToParts(atMs))
    part[type] = Number(value);
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = part;
  return keep(offsets, key, Date.UTC(year, month - 1, day, hour, minute, second) - atMs);
}

function keep<V>(map: Map<string, V>, key: string, value: V): V {
  if (map.size >= MOST_REMEMBERED) map.clear();
  map.set(key, value);
  return value;
}
