import { NodeRemovedError, ShoalError } from '../shared/errors.ts';
import type { ReadView } from './store/types.ts';

/**
 * What a node is told that the store does not know. A host that hears of its removal erases what it has, so a
 * manager may say it only with a state at hand: without the cluster's own object it knows of nobody.
 */
export function unknownNode(store: Pick<ReadView, 'cluster'>, nodeId: string): ShoalError {
  return store.cluster() === undefined
    ? new ShoalError('unavailable', 'this manager has no state of its cluster yet: use another one')
    : new NodeRemovedError(nodeId);
}
