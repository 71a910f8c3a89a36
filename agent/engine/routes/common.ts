import type { Clock } from '../../../shared/clock.ts';
import { type Call, HttpError } from '../http.ts';

/** The `version` that an update must name. Throws HttpError 400 in the words that clients know. */
export function versionOf(call: Call, kind: string): number {
  const raw = call.query.get('version') ?? '';
  const version = /^\d+$/.test(raw) ? Number(raw) : Number.NaN;
  if (!Number.isSafeInteger(version)) {
    const reason = /^\d+$/.test(raw) ? 'value out of range' : 'invalid syntax';
    throw new HttpError(
      400,
      `invalid ${kind} version '${raw}': strconv.ParseUint: parsing "${raw}": ${reason}`,
    );
  }
  return version;
}

/** Runs `work` with a signal that aborts after `limitMs`, or when `signal` does. */
export async function withDeadline<T>(
  clock: Clock,
  limitMs: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const timer = clock.after(limitMs, () =>
    controller.abort(new Error(`no answer within ${limitMs / 1000} s`)),
  );
  const limited = AbortSignal.any([signal, controller.signal]);
  try {
    return await new Promise<T>((resolve, reject) => {
      // The work may be slow to notice: whoever waits is let go at once.
      limited.addEventListener('abort', () => reject(limited.reason), { once: true });
      if (limited.aborted) reject(limited.reason);
      work(limited).then(resolve, reject);
    });
  } finally {
    timer.cancel();
  }
}
