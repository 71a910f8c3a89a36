import { setTimeout as sleep } from 'node:timers/promises';
import { unreachable } from '../../shared/unreachable.ts';
import type { ChaosCluster } from './cluster.ts';
import type { History } from './history.ts';
import type { Fault, FaultKind } from './plan.ts';

/** So much goes through a log whose disk is full that it needs more than the room it has set aside. */
const BULK_WRITES = 45;
const BULK_BYTES = 200_000;
const BULK_WITHIN_MS = 4_000;
const LEADER_WITHIN_MS = 1_000;

/** Carries out a plan on the hosts, one fault for each host at a time, and undoes all of it in the end. */
export class Nemesis {
  /** Faults that were carried out. */
  readonly done = new Map<FaultKind, number>();
  readonly #cluster: ChaosCluster;
  readonly #history: History;
  readonly #busy = new Set<string>();
  readonly #stopped = new Map<string, number>();
  #bulk = 0;

  constructor(cluster: ChaosCluster, history: History) {
    this.#cluster = cluster;
    this.#history = history;
  }

  /** Resolves when the last fault has ended. One that could not be carried out ends the plan: an error. */
  async run(faults: readonly Fault[]): Promise<void> {
    const startedAt = this.#history.now();
    const ending = new AbortController();
    const outcomes = faults.map(async (fault) => {
      try {
        const waitMs = Math.max(0, startedAt + fault.atMs - this.#history.now());
        await sleep(waitMs, undefined, { signal: ending.signal });
        await this.#carryOut(fault);
      } catch (error) {
        ending.abort(error);
      }
    });
    await Promise.all(outcomes);
    ending.signal.throwIfAborted();
  }

  /** Whatever a run that failed has left; hosts that are well stay as they are. */
  async heal(): Promise<void> {
    for (const host of this.#cluster.hosts) {
      this.#cluster.makeRoom(host);
      await this.#cluster.local('start', '--host', host);
      await this.#cluster.local('thaw', '--host', host);
      this.#resume(host);
      await this.#cluster.mend(host);
    }
  }

  async #carryOut(fault: Fault): Promise<void> {
    const host = await this.#claimHost(fault);
    if (host === undefined) return; // each is in trouble already
    try {
      this.#history.fault(`${fault.kind} at ${host} (${fault.target}) for ${fault.forMs} ms`);
      this.done.set(fault.kind, (this.done.get(fault.kind) ?? 0) + 1);
      await this.#begin(fault, host);
      await sleep(fault.forMs);
      await this.#end(fault.kind, host);
      this.#history.fault(`${fault.kind} at ${host} is over`);
    } finally {
      this.#busy.delete(host);
    }
  }

  /** The host that was meant, or another when that one is in trouble; in trouble from now on. */
  async #claimHost({ target }: Fault): Promise<string | undefined> {
    const { hosts } = this.#cluster;
    const leader = target === 'leader' ? await this.#leader() : undefined;
    const wanted = target === 'leader' ? leader : hosts[target];
    const free = hosts.filter((host) => !this.#busy.has(host));
    const host = free.find((one) => one === wanted) ?? free[0];
    if (host !== undefined) this.#busy.add(host);
    return host;
  }

  async #leader(): Promise<string | undefined> {
    const answers = this.#cluster.hosts.map(async (host) => {
      const reply = await this.#cluster.ask(host, 'GET', '/nodes', undefined, LEADER_WITHIN_MS);
      if (reply.kind !== 'answer' || reply.status !== 200) throw new Error('no answer');
      const nodes = JSON.parse(reply.text) as {
        Description: { Hostname: string };
        ManagerStatus?: { Leader?: boolean };
      }[];
      const leader = nodes.find(({ ManagerStatus }) => ManagerStatus?.Leader === true);
      if (leader === undefined) throw new Error('no leader');
      return leader.Description.Hostname;
    });
    return Promise.any(answers).catch(() => undefined);
  }

  async #begin({ kind, degree }: Fault, host: string): Promise<void> {
    const cluster = this.#cluster;
    switch (kind) {
      case 'kill manager':
        return this.#signal(host, 'SIGKILL');
      case 'leader transfer':
        return this.#signal(host, 'SIGTERM');
      case 'pause manager':
        return this.#signal(host, 'SIGSTOP');
      case 'kill shoald':
        await cluster.local('kill', '--host', host, '--only', 'agent');
        return;
      case 'power loss':
        await cluster.local('kill', '--host', host);
        return;
      case 'freeze host':
        await cluster.local('freeze', '--host', host);
        return;
      case 'partition':
        await cluster.local('partition', '--host', host);
        return;
      case 'deaf':
        return cluster.drop(host, 100, 0);
      case 'mute':
        return cluster.drop(host, 0, 100);
      case 'loss':
        return cluster.drop(host, degree, degree);
      case 'narrow link':
        return cluster.narrow(host, degree);
      case 'full disk':
        cluster.fill(host);
        return this.#writeMuch(host);
      default:
        return unreachable(kind);
    }
  }

  async #end(kind: FaultKind, host: string): Promise<void> {
    const cluster = this.#cluster;
    switch (kind) {
      case 'kill manager':
      case 'kill shoald':
      case 'leader transfer':
        return; // started again by whoever looks after it
      case 'pause manager':
        return this.#resume(host);
      case 'power loss':
        await cluster.local('start', '--host', host);
        return;
      case 'freeze host':
        await cluster.local('thaw', '--host', host);
        return;
      case 'partition':
      case 'deaf':
      case 'mute':
      case 'loss':
      case 'narrow link':
        return cluster.mend(host);
      case 'full disk':
        return cluster.makeRoom(host);
      default:
        return unreachable(kind);
    }
  }

  /** To the host's manager; there may be none for a moment, as it was ended just before. */
  async #signal(host: string, signal: 'SIGKILL' | 'SIGTERM' | 'SIGSTOP'): Promise<void> {
    const pid = await this.#cluster.managerPid(host);
    if (pid === undefined) return;
    if (signal === 'SIGSTOP') this.#stopped.set(host, pid);
    sendSignal(pid, signal);
  }

  #resume(host: string): void {
    const pid = this.#stopped.get(host);
    this.#stopped.delete(host);
    if (pid !== undefined) sendSignal(pid, 'SIGCONT');
  }

  /** Configs that go as soon as they came: their log entries stay. */
  async #writeMuch(host: string): Promise<void> {
    const until = this.#history.now() + BULK_WITHIN_MS;
    const data = Buffer.alloc(BULK_BYTES, 'x').toString('base64');
    for (let i = 0; i < BULK_WRITES && this.#history.now() < until; i++) {
      this.#bulk += 1;
      const body = { Name: `bulk-${this.#bulk}`, Labels: {}, Data: data };
      const reply = await this.#cluster.ask(
        host,
        'POST',
        '/configs/create',
        body,
        LEADER_WITHIN_MS,
      );
      if (reply.kind !== 'answer' || reply.status !== 201) continue;
      const { ID } = JSON.parse(reply.text) as { ID: string };
      await this.#cluster.ask(host, 'DELETE', `/configs/${ID}`, undefined, LEADER_WITHIN_MS);
    }
  }
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // It ended between being looked up and now.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
