import { type Clock, sleep } from '../../shared/clock.ts';

/** Whether the promise settles within the time. */
export async function within(
  clock: Clock,
  delayMs: number,
  promise: Promise<unknown>,
): Promise<boolean> {
  const late = new AbortController();
  const settled = promise.then(
    () => true,
    () => true,
  );
  const timeout = sleep(clock, delayMs, late.signal).then(
    () => false,
    () => false,
  );
  const result = await Promise.race([settled, timeout]);
  late.abort();
  return result;
}
