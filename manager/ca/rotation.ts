import { type Cluster, type Node, NodeState } from '../../shared/gen/shoal/v1/objects.ts';
import { type LeaderDeps, type LoopBody, runLeaderLoop } from '../loop.ts';
import { updateAction } from '../store/tables.ts';
import type { ChangeBatch, ReadView } from '../store/types.ts';
import { finishRotation } from './trust.ts';

/**
 * From the last node's report to the end: a manager's process takes up its agent's certificate within a second,
 * and must not be left with the old one when nobody trusts that any more.
 */
const SETTLE_MS = 3_000;

/**
 * Nodes that a rotation waits for: those that are up and have not reported a certificate of the next root, or do not
 * trust it. Nodes that are down hold up nothing: they come back by their former certificate.
 */
export function waitingFor(nodes: Iterable<Node>, nextDigest: string): string[] {
  const waiting: string[] = [];
  for (const { id, status, description } of nodes) {
    if (status?.state !== NodeState.READY) continue;
    const tls = description?.tls;
    if (tls?.issuerDigest === nextDigest && tls.rootDigests.includes(nextDigest)) continue;
    waiting.push(id);
  }
  return waiting;
}

/** A leader loop: ends a rotation of the root when all nodes that are up have followed it. */
export async function runRootRotation(
  deps: LeaderDeps,
  rootDigest: (certificatePem: string) => string,
  signal: AbortSignal,
): Promise<void> {
  await runLeaderLoop(deps, new RotationBody(deps, rootDigest), signal);
}

class RotationBody implements LoopBody {
  readonly name = 'root-rotation';
  readonly #deps: LeaderDeps;
  readonly #rootDigest: (certificatePem: string) => string;
  /** Monotonic time since which no node was waited for; of the next root named. */
  #settled: { nextPem: string; sinceMs: number } | undefined;

  constructor(deps: LeaderDeps, rootDigest: (certificatePem: string) => string) {
    this.#deps = deps;
    this.#rootDigest = rootDigest;
  }

  start(): void {
    this.#settled = undefined;
  }

  onCommit(batch: ChangeBatch): boolean {
    if (this.#deps.store.cluster()?.rootCa?.rotation === undefined) return false;
    return batch.changes.some(({ table }) => table === 'node' || table === 'cluster');
  }

  decide(): ReturnType<LoopBody['decide']> {
    const { store, clock, log } = this.#deps;
    const cluster = rotating(store);
    if (cluster === undefined) {
      this.#settled = undefined;
      return { units: [] };
    }
    const { rootCa, nextPem } = cluster;
    const nowMs = clock.monotonicMs();
    if (waitingFor(store.all('node'), this.#rootDigest(nextPem)).length > 0) {
      this.#settled = undefined;
      return { units: [] };
    }
    if (this.#settled?.nextPem !== nextPem) this.#settled = { nextPem, sinceMs: nowMs };
    const leftMs = this.#settled.sinceMs + SETTLE_MS - nowMs;
    if (leftMs > 0) return { units: [], wakeInMs: leftMs };
    log.info('the old root certificate is dropped');
    const next: Cluster = { ...cluster.cluster, rootCa: finishRotation(rootCa, clock.now()) };
    return { units: [[updateAction('cluster', next)]] };
  }

  failed(): void {
    this.#settled = undefined;
  }
}

function rotating(store: Pick<ReadView, 'cluster'>) {
  const cluster = store.cluster();
  const rootCa = cluster?.rootCa;
  if (cluster === undefined || rootCa?.rotation === undefined) return undefined;
  return { cluster, rootCa, nextPem: rootCa.rotation.certificatePem };
}
