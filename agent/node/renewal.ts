import { type Clock, sleep } from '../../shared/clock.ts';
import { messageOf } from '../../shared/errors.ts';
import type { SessionUpdate } from '../../shared/gen/shoal/v1/dispatcher.ts';
import type { Log } from '../../shared/log.ts';
import { BACKDATE_MS } from '../../shared/pki/certificate.ts';
import type { IdentityHolder, TlsIdentity } from '../../shared/pki/identity.ts';
import type { Random } from '../../shared/random.ts';

export type CertificateLife = Readonly<{ notBeforeMs: number; notAfterMs: number }>;

export type CertificateKeeperDeps = Readonly<{
  identity: IdentityHolder;
  life(identity: TlsIdentity): CertificateLife;
  isIssuedBy(identity: TlsIdentity, rootPem: string): boolean;
  /** Asks a manager for a new certificate and saves it. */
  renew(signal: AbortSignal): Promise<TlsIdentity>;
  /** The present certificate with these roots instead, saved. Throws when none of them issued it. */
  trust(rootsPem: string): Promise<TlsIdentity>;
  clock: Clock;
  random: Random;
  log: Log;
}>;

// Swarm's numbers: at a random point between half and four fifths of the life; errors wait 5 s to 1 h.
const EARLIEST_SHARE = 0.5;
const LATEST_SHARE = 0.8;
const RETRY_FIRST_MS = 5_000;
const RETRY_MOST_MS = 3_600_000;
/** While somebody waits for the new certificate, or the old one opens no session. */
const URGENT_RETRY_MOST_MS = 10_000;
/** setTimeout takes no more than 2^31 ms; a sleep is cut into days. */
const SLEEP_MOST_MS = 24 * 3_600_000;
/** Certificates are dated in whole seconds. */
const LIFE_TOLERANCE_MS = 60_000;

/** When to renew a certificate; `share` is chance in [0, 1), so that a cluster's nodes do not come together. */
export function renewAt(notBeforeMs: number, notAfterMs: number, share: number): number {
  const portion = EARLIEST_SHARE + (LATEST_SHARE - EARLIEST_SHARE) * share;
  return notBeforeMs + (notAfterMs - notBeforeMs) * portion;
}

export type Wishes = Pick<
  SessionUpdate,
  'rootCaPem' | 'signingRootPem' | 'certificateValidityMs' | 'renewWithinMs'
>;

/** Why the managers want this node to have another certificate; undefined: they do not. */
export function renewalReason(
  life: CertificateLife,
  isIssuedBy: (rootPem: string) => boolean,
  { signingRootPem, certificateValidityMs }: Wishes,
): 'root' | 'life' | undefined {
  if (signingRootPem !== '' && !isIssuedBy(signingRootPem)) return 'root';
  // One that is to live longer is had at the next renewal, which comes early enough.
  const livesMs = life.notAfterMs - life.notBeforeMs - BACKDATE_MS;
  const isTooLong =
    certificateValidityMs > 0 && livesMs > certificateValidityMs + LIFE_TOLERANCE_MS;
  return isTooLong ? 'life' : undefined;
}

/**
 * Keeps this node's certificate one that the cluster takes: renews it in the background before it expires, when the
 * managers ask for it (another root, a shorter life), and when they do not take it any more. Roots that a session
 * names are trusted at once.
 */
export class CertificateKeeper {
  readonly #deps: CertificateKeeperDeps;
  #wishes: Wishes | undefined;
  #isRefused = false;
  #plan: { identity: TlsIdentity; dueMs: number } | undefined;
  #asked: { identity: TlsIdentity; dueMs: number } | undefined;
  #wake: () => void = () => undefined;

  constructor(deps: CertificateKeeperDeps) {
    this.#deps = deps;
  }

  told(wishes: Wishes): void {
    this.#wishes = wishes;
    this.#wake();
  }

  /** A manager does not take the certificate: expired, or of a root that was dropped. */
  refused(): void {
    this.#isRefused = true;
    this.#wake();
  }

  /** Until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, identity, log } = this.#deps;
    let retryMs = RETRY_FIRST_MS;
    let notBeforeMs = 0;
    const stop = identity.onChange(() => this.#wake());
    try {
      while (!signal.aborted) {
        await this.#followRoots();
        const dueMs = Math.max(this.#dueMs(), notBeforeMs);
        if (clock.now() < dueMs) {
          await this.#pause(Math.min(dueMs - clock.now(), SLEEP_MOST_MS), signal);
          continue;
        }
        const isUrgent = this.#isRefused || this.#asked !== undefined;
        try {
          const fresh = await this.#deps.renew(signal);
          this.#isRefused = false;
          identity.replace(fresh);
          retryMs = RETRY_FIRST_MS;
          log.info('certificate renewed');
        } catch (error) {
          if (signal.aborted) return;
          log.warn('cannot renew the certificate', { error: messageOf(error), againInMs: retryMs });
        }
        // Also after a success: a manager that refuses the new one too is not asked in a loop.
        notBeforeMs = clock.now() + retryMs;
        const mostMs = isUrgent ? URGENT_RETRY_MOST_MS : RETRY_MOST_MS;
        retryMs = Math.min(retryMs * 2, mostMs);
      }
    } finally {
      stop();
    }
  }

  /** The roots of the last session update, where they cover the present certificate; else it is renewed first. */
  async #followRoots(): Promise<void> {
    const { identity, log } = this.#deps;
    const rootsPem = this.#wishes?.rootCaPem ?? '';
    if (rootsPem === '' || rootsPem === identity.current().rootsPem) return;
    try {
      identity.replace(await this.#deps.trust(rootsPem));
      log.info('other root certificates are trusted now');
    } catch (error) {
      log.debug('the roots do not cover the certificate yet', { error: messageOf(error) });
    }
  }

  #dueMs(): number {
    if (this.#isRefused) return 0;
    const { identity, life, isIssuedBy, clock, random } = this.#deps;
    const current = identity.current();
    if (this.#plan?.identity.certificatePem !== current.certificatePem) {
      const { notBeforeMs, notAfterMs } = life(current);
      const madeMs = Math.min(notBeforeMs + BACKDATE_MS, notAfterMs);
      this.#plan = { identity: current, dueMs: renewAt(madeMs, notAfterMs, random.next()) };
    }
    const wishes = this.#wishes;
    const reason =
      wishes && renewalReason(life(current), (pem) => isIssuedBy(current, pem), wishes);
    if (wishes === undefined || reason === undefined) this.#asked = undefined;
    else if (this.#asked?.identity.certificatePem !== current.certificatePem) {
      const dueMs = clock.now() + random.next() * wishes.renewWithinMs;
      this.#asked = { identity: current, dueMs };
    }
    return Math.min(this.#plan.dueMs, this.#asked?.dueMs ?? Number.POSITIVE_INFINITY);
  }

  /** Ends early when there is news. */
  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    await sleep(this.#deps.clock, ms, AbortSignal.any([signal, woken.signal])).catch(
      () => undefined,
    );
    this.#wake = () => undefined;
  }
}
