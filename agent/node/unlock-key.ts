import { type Clock, sleep } from '../../shared/clock.ts';
import { messageOf } from '../../shared/errors.ts';
import type { UnlockKey } from '../../shared/gen/shoal/v1/control.ts';
import type { Log } from '../../shared/log.ts';

export type UnlockKeyDeps = Readonly<{
  /** The cluster's key now, then each that takes its place; undefined while this host is no manager. */
  follow(signal: AbortSignal): AsyncIterable<UnlockKey> | undefined;
  /** This node's TLS key is locked by it from now on; undefined: by none. The same again does nothing. */
  lockBy(key: Uint8Array | undefined): Promise<void>;
  clock: Clock;
  log: Log;
}>;

const RETRY_MS = 1_000;

/** A manager's TLS key is locked as the cluster says, a worker's never. Until the signal aborts. */
export async function followUnlockKey(deps: UnlockKeyDeps, signal: AbortSignal): Promise<void> {
  const { follow, lockBy, clock, log } = deps;
  while (!signal.aborted) {
    try {
      const keys = follow(signal);
      if (keys === undefined) await lockBy(undefined);
      else for await (const { key } of keys) await lockBy(key.length > 0 ? key : undefined);
    } catch (error) {
      if (!signal.aborted) log.debug('cannot follow the unlock key', { error: messageOf(error) });
    }
    try {
      await sleep(clock, RETRY_MS, signal);
    } catch {
      return; // aborted
    }
  }
}
