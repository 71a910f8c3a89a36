import { type Clock, sleep } from '../../shared/clock.ts';
import { messageOf } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { IdentityHolder, TlsIdentity } from '../../shared/pki/identity.ts';
import type { Random } from '../../shared/random.ts';

export type RenewalDeps = Readonly<{
  identity: IdentityHolder;
  validity(identity: TlsIdentity): { notBeforeMs: number; notAfterMs: number };
  /** Asks a manager for a new certificate and saves it. */
  renew(signal: AbortSignal): Promise<TlsIdentity>;
  clock: Clock;
  random: Random;
  log: Log;
}>;

// Swarm's numbers: at a random point between half and four fifths of the life; errors wait 5 s to 1 h.
const EARLIEST_SHARE = 0.5;
const LATEST_SHARE = 0.8;
const RETRY_FIRST_MS = 5_000;
const RETRY_MOST_MS = 3_600_000;
/** setTimeout takes no more than 2^31 ms; a sleep is cut into days. */
const SLEEP_MOST_MS = 24 * 3_600_000;

/** When to renew a certificate; `share` is chance in [0, 1), so that a cluster's nodes do not come together. */
export function renewAt(notBeforeMs: number, notAfterMs: number, share: number): number {
  const portion = EARLIEST_SHARE + (LATEST_SHARE - EARLIEST_SHARE) * share;
  return notBeforeMs + (notAfterMs - notBeforeMs) * portion;
}

/** Renews in the background until the signal aborts. */
export async function keepCertificateFresh(deps: RenewalDeps, signal: AbortSignal): Promise<void> {
  const { clock, identity, random, log } = deps;
  let retryMs = RETRY_FIRST_MS;
  while (!signal.aborted) {
    const { notBeforeMs, notAfterMs } = deps.validity(identity.current());
    const dueMs = renewAt(notBeforeMs, notAfterMs, random.next());
    try {
      while (clock.now() < dueMs)
        await sleep(clock, Math.min(dueMs - clock.now(), SLEEP_MOST_MS), signal);
    } catch {
      return; // aborted
    }
    while (!signal.aborted) {
      try {
        identity.replace(await deps.renew(signal));
        retryMs = RETRY_FIRST_MS;
        log.info('certificate renewed');
        break;
      } catch (error) {
        log.warn('cannot renew the certificate', { error: messageOf(error), againInMs: retryMs });
        try {
          await sleep(clock, retryMs, signal);
        } catch {
          return; // aborted
        }
        retryMs = Math.min(retryMs * 2, RETRY_MOST_MS);
      }
    }
  }
}
