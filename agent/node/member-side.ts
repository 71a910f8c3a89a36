import { type Clock, sleep } from '../../shared/clock.ts';
import { isShoalError, messageOf } from '../../shared/errors.ts';
import type { BackupMessage, ClusterInfo, UnlockKey } from '../../shared/gen/shoal/v1/control.ts';
import type { LogSubscriptionChange, SessionUpdate } from '../../shared/gen/shoal/v1/dispatcher.ts';
import type { Log } from '../../shared/log.ts';
import type { IdentityHolder, TlsIdentity } from '../../shared/pki/identity.ts';
import type { DataPlane } from '../network/types.ts';
import type { ManagerDirectory } from '../session/managers.ts';
import type { Session, SessionHandler } from '../session/types.ts';
import type { TaskManager } from '../task/manager.ts';
import type { ClusterSide } from './membership-ports.ts';
import type { ManagerCounts } from './quorum.ts';
import type { NodeRecord } from './record.ts';
import type { CertificateKeeper } from './renewal.ts';
import { RoleKeeper } from './role-keeper.ts';
import { followUnlockKey } from './unlock-key.ts';

/** The manager process of this host, where it is one. */
export interface LocalManager {
  start(): void;
  /** SIGTERM and a wait; what it keeps on disk stays. */
  stop(): Promise<void>;
  /** Lets it run on while this process goes. */
  release(): Promise<void>;
  clusterInfo(signal: AbortSignal): Promise<ClusterInfo>;
  /** The cluster's unlock key now, then each that takes its place; empty for none. */
  followUnlockKey(signal: AbortSignal): AsyncIterable<UnlockKey>;
  quorum(signal: AbortSignal): Promise<ManagerCounts>;
  backup(signal: AbortSignal): AsyncIterable<BackupMessage>;
  /** Takes this node out of the Raft group. */
  resign(signal: AbortSignal): Promise<void>;
}

export type MemberSideDeps = Readonly<{
  record: NodeRecord;
  /** A manager process for this host, of the record as it is then; nothing runs yet. */
  makeManager(): LocalManager;
  /** Deletes what a manager process keeps on disk. */
  clearManager(): Promise<void>;
  /** Where `makeManager`'s is reached, as a session's target. */
  localTarget: string;
  identity: IdentityHolder;
  session: Session & { start(): void };
  managers: ManagerDirectory;
  tasks: TaskManager;
  dataPlane: DataPlane;
  publishLogs(change: LogSubscriptionChange): void;
  /** Measures tasks, and tells who waits for services that have none. */
  signals: { refresh(): void; close(): Promise<void> };
  certificates: Pick<CertificateKeeper, 'told' | 'refused' | 'run'>;
  /** The TLS key on this disk is locked by it; undefined: by none. */
  lockBy(key: Uint8Array | undefined): Promise<void>;
  /** Asks a manager for a new certificate and saves it. */
  renew(signal: AbortSignal): Promise<TlsIdentity>;
  /** The cluster does not know this node any more. */
  dismissed(): void;
  /** Remembers the managers for the next start. */
  remember(record: NodeRecord): Promise<void>;
  clock: Clock;
  log: Log;
}>;

const POLL_MS = 20;

/** What runs on this host because it is in a cluster. */
export class MemberSide implements ClusterSide {
  readonly #deps: MemberSideDeps;
  readonly #ending = new AbortController();
  readonly #roles: RoleKeeper;
  #record: NodeRecord;
  #manager: LocalManager | undefined;
  #saving: Promise<void> = Promise.resolve();
  #connected = Promise.withResolvers<void>();
  #background: Promise<unknown> | undefined;

  constructor(deps: MemberSideDeps) {
    this.#deps = deps;
    this.#record = deps.record;
    const { identity, renew, clock, log } = deps;
    const isRunning = () => this.#manager !== undefined;
    this.#roles = new RoleKeeper({
      nodeId: deps.record.nodeId,
      identity,
      renew,
      manager: {
        get isRunning() {
          return isRunning();
        },
        start: () => this.#startManager(),
        retire: () => this.#retireManager(),
      },
      clock,
      log,
    });
  }

  /** For the session: what comes from the managers goes to who needs it. */
  static handler(side: () => MemberSide): SessionHandler {
    return {
      assignments: (change) => {
        side().#deps.tasks.assignments(change);
        side().#deps.signals.refresh();
      },
      update: (update) => side().#update(update),
      logs: (change) => side().#deps.publishLogs(change),
      connected: (isConnected) => {
        if (isConnected) side().#connected.resolve();
      },
      dismissed: () => side().#deps.dismissed(),
      refused: () => side().#deps.certificates.refused(),
    };
  }

  get record(): NodeRecord {
    return this.#record;
  }

  /** Adopts what runs here, then opens the session. */
  async start(): Promise<void> {
    const { session, tasks, dataPlane, certificates, signals, identity, log } = this.#deps;
    if (this.#record.role === 'manager') {
      // A worker's certificate is the leader's word that this node is out of the quorum: this process ended before
      // the manager did. Run again it would only ask in vain to be a member, and the session would wait for it.
      if (identity.current().holder.role === 'manager') this.#runManager();
      else await this.#retireManager();
    }
    await tasks.adopt();
    dataPlane.onApplied((revision) => {
      session.applied(revision);
      signals.refresh();
    });
    session.start();
    const { signal } = this.#ending;
    this.#background = Promise.all(
      [certificates.run(signal), this.#roles.run(signal), this.#followUnlockKey(signal)].map(
        (loop) =>
          loop.catch((error: unknown) => {
            if (!signal.aborted)
              log.error('a loop of this node broke', { error: messageOf(error) });
          }),
      ),
    );
  }

  async ready(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    while (this.#manager !== undefined) {
      try {
        await this.#manager.clusterInfo(signal);
        break;
      } catch (error) {
        if (!isShoalError(error)) throw error;
        if (signal.aborted) throw error;
      }
      await sleep(clock, POLL_MS, signal);
    }
    await Promise.race([
      this.#connected.promise,
      new Promise<never>((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      }),
    ]);
  }

  async clusterInfo(signal: AbortSignal): Promise<ClusterInfo | undefined> {
    return this.#manager?.clusterInfo(signal);
  }

  async quorum(signal: AbortSignal): Promise<ManagerCounts | undefined> {
    return this.#manager?.quorum(signal);
  }

  backup(signal: AbortSignal): AsyncIterable<BackupMessage> | undefined {
    return this.#manager?.backup(signal);
  }

  warnings(): readonly string[] {
    return this.#deps.dataPlane.warnings;
  }

  managers() {
    return this.#deps.managers.all();
  }

  async resign(signal: AbortSignal): Promise<void> {
    if (this.#manager === undefined) return;
    // First, while the session's manager is one: the node is down at once, and not missed for seconds.
    await this.#deps.session.goodbye('leaving the cluster');
    await this.#manager.resign(signal);
  }

  async tearDown(): Promise<void> {
    const { session, tasks, dataPlane, signals } = this.#deps;
    await session.goodbye('leaving the cluster');
    this.#ending.abort();
    await this.#background; // a change of role that is under way ends first
    await signals.close();
    await session.close();
    await tasks.removeAll();
    await dataPlane.removeAll();
    await dataPlane.close();
    await this.#manager?.stop();
    await this.#saving;
  }

  async close(): Promise<void> {
    const { session, dataPlane, signals } = this.#deps;
    this.#ending.abort();
    await this.#background;
    await signals.close();
    await session.close();
    await dataPlane.close();
    await this.#manager?.stop();
    await this.#saving;
  }

  #followUnlockKey(signal: AbortSignal): Promise<void> {
    const { lockBy, clock, log } = this.#deps;
    const follow = (until: AbortSignal) => this.#manager?.followUnlockKey(until);
    return followUnlockKey({ follow, lockBy, clock, log }, signal);
  }

  #runManager(): void {
    const { makeManager, managers, localTarget } = this.#deps;
    this.#manager = makeManager();
    this.#manager.start();
    managers.setLocal(localTarget);
  }

  /** Written down first: after a crash in between it is started all the same. */
  async #startManager(): Promise<void> {
    await this.#deps.clearManager(); // of a membership that ended: never to be gone on with
    await this.#remember({ role: 'manager' });
    this.#runManager();
  }

  /** Written down last: after a crash in between it is done again. */
  async #retireManager(): Promise<void> {
    this.#deps.managers.setLocal(undefined);
    // Without one of this process there may be one that an earlier process left.
    await (this.#manager ?? this.#deps.makeManager()).stop();
    await this.#deps.clearManager();
    await this.#remember({ role: 'worker' });
    this.#manager = undefined;
  }

  #update(update: SessionUpdate): void {
    const { tasks, certificates, log } = this.#deps;
    this.#roles.told(update);
    certificates.told(update);
    tasks.setDataPathPort(update.dataPathPort);
    if (update.managers.length === 0) return;
    this.#remember({
      managers: update.managers.map(({ nodeId, address }) => ({ nodeId, address })),
      dataPathPort: update.dataPathPort || this.#record.dataPathPort,
    }).catch((error) => log.warn('cannot save the list of managers', { error: messageOf(error) }));
  }

  /** One write after the other: each is of the whole record as it is then. */
  #remember(change: Partial<NodeRecord>): Promise<void> {
    this.#record = { ...this.#record, ...change };
    const saved = this.#saving.then(() => this.#deps.remember(this.#record));
    this.#saving = saved.catch(() => undefined);
    return saved;
  }
}
