import { quantity, tasks } from './figures.ts';
import type { Read } from './readings.ts';

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

/** `cpu at 68 % of 70 %`; `jobs at 11 of 12 (2 a replica)`, where all replicas share it. */
export function loadPhrase(read: Read, replicas: number): string {
  const { name, target, value, counted } = read.reading;
  const at = `${name} at ${quantity(value ?? 0, read.unit)} of`;
  const each = quantity(target, read.unit);
  return counted > 0
    ? `${at} ${each}`
    : `${at} ${quantity(target * replicas, read.unit)} (${each} a replica)`;
}
