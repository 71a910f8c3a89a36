import { type Clock, sleep } from '../shared/clock.ts';
import { isShoalError } from '../shared/errors.ts';
import type { Cluster } from '../shared/gen/shoal/v1/objects.ts';
import type { Consensus } from './raft/consensus.ts';
import type { ChangeBatch, ReadView } from './store/types.ts';

export type ClusterVersionsDeps = Readonly<{
  store: Pick<ReadView, 'cluster'> & {
    onCommit(listener: (batch: ChangeBatch) => void): () => void;
  };
  consensus: Pick<Consensus, 'readBarrier'>;
  clock: Clock;
}>;

const RETRY_MS = 1_000;

/**
 * The cluster's object as it is, then after each change of it; some may be left out, the last one never.
 * Begins when this replica has caught up: what it held before that may be long over.
 */
export async function* clusterVersions(
  { store, consensus, clock }: ClusterVersionsDeps,
  signal: AbortSignal,
): AsyncGenerator<Cluster, void, void> {
  let last: Cluster | undefined;
  let wake: () => void = () => undefined;
  const unsubscribe = store.onCommit(() => {
    if (store.cluster() !== last) wake();
  });
  const onAbort = () => wake();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    while (!signal.aborted) {
      try {
        await consensus.readBarrier(signal);
        break;
      } catch (error) {
        if (signal.aborted || !isShoalError(error)) throw error;
        await sleep(clock, RETRY_MS, signal);
      }
    }
    while (!signal.aborted) {
      const cluster = store.cluster();
      if (cluster !== undefined && cluster !== last) {
        last = cluster;
        yield cluster;
        continue;
      }
      const changed = Promise.withResolvers<void>();
      wake = changed.resolve;
      await changed.promise;
    }
  } finally {
    unsubscribe();
    signal.removeEventListener('abort', onAbort);
  }
}
