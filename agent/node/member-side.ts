import { type Clock, sleep } from '../../shared/clock.ts';
import { isShoalError, messageOf } from '../../shared/errors.ts';
import type { ClusterInfo } from '../../shared/gen/shoal/v1/control.ts';
import type { LogSubscriptionChange, SessionUpdate } from '../../shared/gen/shoal/v1/dispatcher.ts';
import type { Log } from '../../shared/log.ts';
import type { DataPlane } from '../network/types.ts';
import type { ManagerDirectory } from '../session/managers.ts';
import type { Session, SessionHandler } from '../session/types.ts';
import type { TaskManager } from '../task/manager.ts';
import type { ClusterSide } from './membership.ts';
import type { NodeRecord } from './record.ts';

/** The manager process of this host, where it is one. */
export interface LocalManager {
  start(): void;
  /** SIGTERM and a wait; true removes nothing else. */
  stop(): Promise<void>;
  /** Lets it run on while this process goes. */
  release(): Promise<void>;
  clusterInfo(signal: AbortSignal): Promise<ClusterInfo>;
  /** Takes this node out of the Raft group. */
  resign(signal: AbortSignal): Promise<void>;
}

export type MemberSideDeps = Readonly<{
  record: NodeRecord;
  manager: LocalManager | undefined;
  session: Session & { start(): void };
  managers: ManagerDirectory;
  tasks: TaskManager;
  dataPlane: DataPlane;
  publishLogs(change: LogSubscriptionChange): void;
  /** Keeps the certificate fresh until the signal aborts. */
  renew(signal: AbortSignal): Promise<void>;
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
  #connected = Promise.withResolvers<void>();
  #renewal: Promise<void> | undefined;

  constructor(deps: MemberSideDeps) {
    this.#deps = deps;
  }

  /** For the session: what comes from the managers goes to who needs it. */
  static handler(side: () => MemberSide): SessionHandler {
    return {
      assignments: (change) => side().#deps.tasks.assignments(change),
      update: (update) => side().#update(update),
      logs: (change) => side().#deps.publishLogs(change),
      connected: (isConnected) => {
        if (isConnected) side().#connected.resolve();
      },
    };
  }

  /** Adopts what runs here, then opens the session. */
  async start(): Promise<void> {
    const { manager, session, tasks, dataPlane, renew, log } = this.#deps;
    manager?.start();
    await tasks.adopt();
    dataPlane.onApplied((revision) => session.applied(revision));
    session.start();
    this.#renewal = renew(this.#ending.signal).catch((error) => {
      if (!this.#ending.signal.aborted)
        log.error('certificate renewal broke', { error: messageOf(error) });
    });
  }

  async ready(signal: AbortSignal): Promise<void> {
    const { manager, clock } = this.#deps;
    while (manager !== undefined) {
      try {
        await manager.clusterInfo(signal);
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
    return this.#deps.manager?.clusterInfo(signal);
  }

  managers() {
    return this.#deps.managers.all();
  }

  async resign(signal: AbortSignal): Promise<void> {
    await this.#deps.manager?.resign(signal);
  }

  async tearDown(): Promise<void> {
    const { session, tasks, dataPlane, manager } = this.#deps;
    await session.goodbye('leaving the cluster');
    this.#ending.abort();
    await session.close();
    await tasks.removeAll();
    await dataPlane.removeAll();
    await dataPlane.close();
    await manager?.stop();
    await this.#renewal;
  }

  async close(): Promise<void> {
    const { session, dataPlane, manager } = this.#deps;
    this.#ending.abort();
    await session.close();
    await dataPlane.close();
    await manager?.stop();
    await this.#renewal;
  }

  #update(update: SessionUpdate): void {
    const { tasks, record, remember, log } = this.#deps;
    tasks.setDataPathPort(update.dataPathPort);
    if (update.managers.length === 0) return;
    const managers = update.managers.map(({ nodeId, address }) => ({ nodeId, address }));
    remember({
      ...record,
      managers,
      dataPathPort: update.dataPathPort || record.dataPathPort,
    }).catch((error) => log.warn('cannot save the list of managers', { error: messageOf(error) }));
  }
}
