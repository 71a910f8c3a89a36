import test from 'ava';
import { LogLock } from '../../manager/log-lock.ts';
import { LogKeys } from '../../manager/raft/io/log-keys.ts';
import { WalLog } from '../../manager/raft/io/wal-log.ts';
import { Store } from '../../manager/store/store.ts';
import { createAction, updateAction } from '../../manager/store/tables.ts';
import { Cluster } from '../../shared/gen/shoal/v1/objects.ts';
import { ManualClock, settle } from '../support/manual-clock.ts';
import { applyDirect } from '../support/store.ts';
import { SimDisk } from './raft/io/sim-disk.ts';

const keyOf = (fill: number) => (fill === 0 ? undefined : new Uint8Array(32).fill(fill));
const clusterWith = (fill: number) =>
  Cluster.fromPartial({
    id: 'c'.repeat(25),
    spec: {},
    unlockKey: Buffer.from(keyOf(fill) ?? new Uint8Array(0)),
  });

/** One host: the log as the manager keeps it, the TLS key as the agent does, both as they are on the disk. */
class Host {
  readonly disk = new SimDisk();
  readonly clock = new ManualClock();
  readonly #store = new Store();
  readonly #ending = new AbortController();
  readonly #log = new WalLog(this.disk, new LogKeys(this.disk, undefined));
  readonly #due: (() => void)[] = [];
  tls: number | undefined;
  readonly #loops: Promise<unknown>;

  constructor() {
    this.#log.load();
    applyDirect(this.#store, [createAction('cluster', clusterWith(0))]);
    const deps = {
      store: this.#store,
      consensus: { readBarrier: async () => 1 },
      clock: this.clock,
    };
    const logOpens = (key: Uint8Array | undefined) => LogKeys.open(this.disk, key);
    const lock = new LogLock(
      deps,
      {
        logOpens,
        isTlsLockedBy: async (key) => this.tls !== undefined && this.tls === key[0],
        setKek: (key) => this.#due.push(() => void this.#log.setKek(key)),
      },
      undefined,
    );
    const manager = lock.run(this.#ending.signal);
    const agent = (async () => {
      for await (const key of lock.tlsKeys(this.#ending.signal)) {
        await new Promise<void>((resolve) => {
          this.#due.push(() => {
            this.tls = key?.[0];
            resolve();
          });
        });
      }
    })();
    this.#loops = Promise.allSettled([manager, agent]);
  }

  want(fill: number): void {
    const cluster = this.#store.cluster() ?? clusterWith(0);
    const { unlockKey } = clusterWith(fill);
    applyDirect(this.#store, [updateAction('cluster', { ...cluster, unlockKey })]);
  }

  /** Does one of the things that are under way; which, the caller says. False when there is nothing. */
  doOne(choice: number): boolean {
    const [work] = this.#due.splice(choice % Math.max(1, this.#due.length), 1);
    work?.();
    return work !== undefined;
  }

  /** Time for the log as well: what it only does for a while, or later, it does. */
  async pass(ms: number): Promise<void> {
    for (let i = 0; i < ms / 100; i++) this.#log.idle();
    await this.clock.advance(ms);
    await settle();
  }

  /** After a crash now: what opens the TLS key is all that the log is given. */
  isRecoverable(): boolean {
    return LogKeys.open(this.disk.kill(), keyOf(this.tls ?? 0));
  }

  async end(): Promise<void> {
    this.#ending.abort();
    await settle();
    await this.#loops;
  }
}

async function calm(host: Host): Promise<void> {
  for (let i = 0; i < 20; i++) {
    await settle();
    host.doOne(0);
    await host.clock.advance(100);
  }
}

test('a lock that is turned on is on the TLS key before it is on the log, turned off the other way', async (t) => {
  const host = new Host();
  await calm(host);
  host.want(1);
  await settle();
  await host.clock.advance(1_000);
  t.true(LogKeys.open(host.disk, undefined), 'the agent has not locked the TLS key yet');
  await calm(host);
  t.is(host.tls, 1);
  t.false(LogKeys.open(host.disk, undefined));
  t.true(LogKeys.open(host.disk, keyOf(1)));
  host.want(0);
  await calm(host);
  t.is(host.tls, undefined);
  t.true(LogKeys.open(host.disk, undefined));
  await host.end();
});

test('an agent that is away keeps the log open, and is not told keys that are over', async (t) => {
  const host = new Host();
  await calm(host);
  host.want(1);
  await settle();
  host.want(0);
  await settle();
  await host.clock.advance(60_000);
  t.true(host.isRecoverable());
  await calm(host);
  t.is(host.tls, undefined);
  t.true(LogKeys.open(host.disk, undefined));
  await host.end();
});

test('a key is replaced while the agent is away: the one before opens the log until it is back', async (t) => {
  const host = new Host();
  await calm(host);
  host.want(1);
  await calm(host);
  host.want(2);
  await settle();
  host.doOne(0);
  await host.pass(600_000);
  t.is(host.tls, 1, 'it is away');
  t.true(LogKeys.open(host.disk, keyOf(2)));
  t.true(host.isRecoverable());
  host.want(3);
  await host.pass(600_000);
  t.true(host.isRecoverable(), 'another one waits');
  await calm(host);
  await calm(host);
  t.is(host.tls, 3);
  t.true(host.isRecoverable());
  for (const former of [1, 2]) t.false(LogKeys.open(host.disk, keyOf(former)), `key ${former}`);
  await host.end();
});

test('wherever a crash comes while the lock is turned on and off, the log opens with what opens the TLS key', async (t) => {
  for (let seed = 1; seed <= 60; seed++) {
    let state = seed;
    const next = (below: number) => {
      state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
      return (state >> 8) % below;
    };
    const host = new Host();
    await calm(host);
    let wanted = 0;
    for (let step = 0; step < 40; step++) {
      const what = next(4);
      if (what === 0) {
        // A new key each time, as the cluster makes one.
        wanted = wanted === 0 || next(2) === 0 ? step + 1 : 0;
        host.want(wanted);
      } else if (what === 1) await host.pass(next(4) === 0 ? 60_000 : 100);
      else if (host.doOne(next(2))) t.true(host.isRecoverable(), `seed ${seed}, step ${step}`);
      await settle();
    }
    await calm(host);
    t.true(host.isRecoverable(), `seed ${seed}`);
    t.is(host.tls ?? 0, wanted, `seed ${seed}`);
    for (let former = 1; former <= 40; former++) {
      const opens = wanted === 0 || former === wanted;
      t.is(LogKeys.open(host.disk, keyOf(former)), opens, `seed ${seed}, key ${former}`);
    }
    t.is(LogKeys.open(host.disk, undefined), wanted === 0, `seed ${seed}`);
    await host.end();
  }
});
