import { byteText } from '../../shared/model/byte-text.ts';
import { unreachable } from '../../shared/unreachable.ts';
import type { Read, Unit } from './readings.ts';

/** `cpu at 93 % of a target of 70 % over 3 tasks, 1 not ready`. */
export function loadSentence(read: Read, window: 'stable' | 'fast'): string {
  const { name, target, counted, missing, notReady, value, fastValue } = read.reading;
  const at = quantity((window === 'fast' ? fastValue : value) ?? 0, read.unit);
  const per = read.unit === 'percent' ? '' : counted > 0 ? ' a task' : ' a replica';
  const over = counted > 0 ? ` over ${tasks(counted)}` : '';
  const without = missing > 0 ? `, ${missing} without samples` : '';
  const young = notReady > 0 ? `, ${notReady} not ready` : '';
  const fast = window === 'fast' ? ' in the fast window' : '';
  return `${name} at ${at} of a target of ${quantity(target, read.unit)}${per}${fast}${over}${without}${young}`;
}

/** `cpu at 68 % of 70 %`. */
export function loadPhrase(read: Read): string {
  const { name, target, value } = read.reading;
  return `${name} at ${quantity(value ?? 0, read.unit)} of ${quantity(target, read.unit)}`;
}

export function tasks(count: number): string {
  return count === 1 ? '1 task' : `${count} tasks`;
}

/** The clock time of day in UTC: 14:05:10. */
export function clock(atMs: number): string {
  return new Date(atMs).toISOString().slice(11, 19);
}

/** The same, with the date where that is another day than today: 2026-11-23 14:05:10. */
export function dayAndClock(atMs: number, nowMs: number): string {
  const day = (ms: number) => new Date(ms).toISOString().slice(0, 10);
  return day(atMs) === day(nowMs) ? clock(atMs) : `${day(atMs)} ${clock(atMs)}`;
}

export function percent(share: number): string {
  return `${round(share * 100, 1)} %`;
}

function quantity(value: number, unit: Unit): string {
  switch (unit) {
    case 'percent':
      return percent(value);
    case 'cores':
      return `${round(value, 3)} cores`;
    case 'bytes':
      return byteText(value, ' ');
    case 'bytes/s':
      return `${byteText(value, ' ')}/s`;
    case '/s':
      return `${round(value, 1)}/s`;
    case '':
      return String(round(value, 1));
    default:
      return unreachable(unit);
  }
}

function round(value: number, digits: number): number {
  const scale = 10 ** digits;
  return Math.round(value * scale) / scale;
}
