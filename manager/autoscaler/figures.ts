import { byteText } from '../../shared/model/byte-text.ts';
import { unreachable } from '../../shared/unreachable.ts';

/** How a metric's numbers are written for people. */
export type Unit = 'percent' | 'cores' | 'bytes' | 'bytes/s' | '/s' | '';

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

export function quantity(value: number, unit: Unit): string {
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
