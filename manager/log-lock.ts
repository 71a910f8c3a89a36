import { sleep } from '../shared/clock.ts';
import { type ClusterVersionsDeps, clusterVersions } from './cluster-versions.ts';

type Key = Uint8Array | undefined;

export type LogLockPorts = Readonly<{
  /** Whether the log on this disk opens for who has `key`, or (undefined) has none. */
  logOpens(key: Key): boolean;
  /**
   * Orders it; it is done when the disk says so. The key before opens the log as well until the same is ordered
   * again.
   */
  setKek(key: Key): void;
  /** Whether the TLS key on this disk is locked, and `key` opens it. */
  isTlsLockedBy(key: Uint8Array): Promise<boolean>;
}>;

const POLL_MS = 100;

/**
 * Two things on this host are locked by the cluster's unlock key, in two processes: the log here, the TLS key by the
 * agent. Whoever can open the TLS key must be able to open the log, wherever a crash comes: a log that opens by
 * itself is locked after the TLS key, and opened before it; one key takes another's place in the log first, which
 * opens with both until the TLS key has followed. An agent that is away delays the next step until it is back.
 */
export class LogLock {
  readonly #deps: ClusterVersionsDeps;
  readonly #ports: LogLockPorts;
  /** What the TLS key is to be locked by now. */
  #tlsKey: Key;
  #changed = Promise.withResolvers<void>();

  /** `key`: what opened TLS key and log at the start of this process. */
  constructor(deps: ClusterVersionsDeps, ports: LogLockPorts, key: Key) {
    this.#deps = deps;
    this.#ports = ports;
    this.#tlsKey = key;
  }

  /** Follows the cluster's key until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      for await (const { unlockKey } of clusterVersions(this.#deps, signal)) {
        const key = unlockKey.length > 0 ? new Uint8Array(unlockKey) : undefined;
        if (key === undefined) await this.#open(signal);
        else if (this.#ports.logOpens(undefined)) await this.#lock(key, signal);
        else await this.#replace(key, signal);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  /** What the TLS key is to be locked by, now and after each change. */
  async *tlsKeys(signal: AbortSignal): AsyncGenerator<Key, void, void> {
    const aborted = new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    while (!signal.aborted) {
      const changed = this.#changed.promise;
      yield this.#tlsKey;
      await Promise.race([changed, aborted]);
    }
  }

  async #open(signal: AbortSignal): Promise<void> {
    const { logOpens, setKek } = this.#ports;
    setKek(undefined);
    await this.#until(() => logOpens(undefined), signal);
    this.#tell(undefined);
  }

  async #lock(key: Uint8Array, signal: AbortSignal): Promise<void> {
    const { isTlsLockedBy, logOpens, setKek } = this.#ports;
    this.#tell(key);
    await this.#until(() => this.#isOver(key) || isTlsLockedBy(key), signal);
    if (this.#isOver(key)) return;
    setKek(key);
    await this.#until(() => logOpens(key) && !logOpens(undefined), signal);
  }

  async #replace(key: Uint8Array, signal: AbortSignal): Promise<void> {
    const { isTlsLockedBy, logOpens, setKek } = this.#ports;
    const before = this.#tlsKey;
    // The log opens with two keys, not with three.
    if (before !== undefined && !isSame(before, key)) {
      await this.#until(() => this.#isOver(key) || isTlsLockedBy(before), signal);
      if (this.#isOver(key)) return;
    }
    setKek(key);
    await this.#until(() => logOpens(key), signal);
    this.#tell(key);
    await this.#until(() => this.#isOver(key) || isTlsLockedBy(key), signal);
    if (!this.#isOver(key)) setKek(key);
  }

  #tell(key: Key): void {
    this.#tlsKey = key;
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  /** The cluster has another key by now. */
  #isOver(key: Uint8Array): boolean {
    const now = this.#deps.store.cluster()?.unlockKey;
    return now !== undefined && !isSame(now, key);
  }

  async #until(isDone: () => boolean | Promise<boolean>, signal: AbortSignal): Promise<void> {
    while (!(await isDone())) await sleep(this.#deps.clock, POLL_MS, signal);
  }
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
