import { type Clock, sleep } from '../../shared/clock.ts';
import { messageOf } from '../../shared/errors.ts';
import type { SessionUpdate } from '../../shared/gen/shoal/v1/dispatcher.ts';
import { NodeRole } from '../../shared/gen/shoal/v1/objects.ts';
import type { Log } from '../../shared/log.ts';
import type { IdentityHolder, TlsIdentity } from '../../shared/pki/identity.ts';
import { unreachable } from '../../shared/unreachable.ts';
import { nextRoleStep, type RoleView } from './role.ts';

/** The manager process, as far as a change of role moves it. Both may be repeated. */
export interface ManagerSlot {
  readonly isRunning: boolean;
  start(): Promise<void>;
  /** Ends it and deletes its log: what it knew as a member must not come back. */
  retire(): Promise<void>;
}

export type RoleKeeperDeps = Readonly<{
  nodeId: string;
  identity: IdentityHolder;
  /** Asks a manager for a new certificate and saves it. */
  renew(signal: AbortSignal): Promise<TlsIdentity>;
  manager: ManagerSlot;
  clock: Clock;
  log: Log;
}>;

// As Swarm's agents wait between tries of a renewal that was asked for, but sooner at first.
const RETRY_FIRST_MS = 500;
const RETRY_MOST_MS = 10_000;

/** Carries out changes of this node's role, as sessions tell them; tasks run on meanwhile. */
export class RoleKeeper {
  readonly #deps: RoleKeeperDeps;
  #news: Pick<RoleView, 'wanted' | 'isMember'> | undefined;
  #wake: (() => void) | undefined;

  constructor(deps: RoleKeeperDeps) {
    this.#deps = deps;
  }

  told({ node, managers }: SessionUpdate): void {
    const role = node?.spec?.role;
    if (role === undefined) return;
    this.#news = {
      wanted: role === NodeRole.MANAGER ? 'manager' : 'worker',
      isMember: managers.some(({ nodeId }) => nodeId === this.#deps.nodeId),
    };
    this.#wake?.();
  }

  /** Until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#deps;
    let retryMs = RETRY_FIRST_MS;
    while (!signal.aborted) {
      const news = this.#news;
      this.#news = undefined;
      try {
        if (news === undefined) await this.#nextNews(signal);
        else await this.#follow(news, signal);
        retryMs = RETRY_FIRST_MS;
      } catch (error) {
        if (signal.aborted) return;
        log.warn('cannot change the role yet', { error: messageOf(error), againInMs: retryMs });
        this.#news ??= news;
        await sleep(clock, retryMs, signal).catch(() => undefined);
        retryMs = Math.min(retryMs * 2, RETRY_MOST_MS);
      }
    }
  }

  async #follow(news: Pick<RoleView, 'wanted' | 'isMember'>, signal: AbortSignal): Promise<void> {
    const { identity, manager, renew, log } = this.#deps;
    for (;;) {
      const certificate = identity.current().holder.role;
      const step = nextRoleStep({ ...news, certificate, runsManager: manager.isRunning });
      switch (step) {
        case 'none':
        case 'await-removal': // its end is told like everything else
          return;
        case 'renew': {
          const fresh = await renew(signal);
          identity.replace(fresh);
          if (fresh.holder.role === certificate) return; // the leader knows better than who told us
          log.info('this node has a new role', { role: fresh.holder.role });
          break;
        }
        case 'start-manager':
          await manager.start();
          return;
        case 'stop-manager':
          await manager.retire();
          return;
        default:
          unreachable(step);
      }
    }
  }

  #nextNews(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        signal.removeEventListener('abort', done);
        this.#wake = undefined;
        resolve();
      };
      if (this.#news !== undefined || signal.aborted) {
        done();
        return;
      }
      this.#wake = done;
      signal.addEventListener('abort', done, { once: true });
    });
  }
}
