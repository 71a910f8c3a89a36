import { ShoalError } from '../../shared/errors.ts';

/**
 * A promise of Raft does not hold: data was lost below this node, or a caller broke the order of
 * `Ready`. Going on could lose what was acknowledged, so nobody catches this: the node stops.
 */
export function broken(what: string): ShoalError {
  return new ShoalError('internal', `raft: ${what}; this node must stop`);
}
