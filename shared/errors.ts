/**
 * What went wrong, in words that callers branch on. Edges map these once: gRPC in
 * `shared/rpc/status.ts`, HTTP in the Engine API.
 */
export type ErrorCode =
  | 'invalid-argument' // the request is wrong whatever the state is; the message names the field
  | 'not-found'
  | 'already-exists'
  | 'failed-precondition' // the state forbids it; the message says what to do first
  | 'out-of-sequence' // the version given is not the stored one: read again, then retry
  | 'permission-denied'
  | 'unauthenticated'
  | 'resource-exhausted'
  | 'unavailable' // nothing was done; trying again later may work
  | 'unknown-outcome' // a write whose result is not known: read before any retry
  | 'deadline-exceeded'
  | 'cancelled'
  | 'unimplemented'
  | 'internal';

/** The one error class that crosses subsystem and process borders. A lower error goes in as `cause`. */
export class ShoalError extends Error {
  override readonly name = 'ShoalError';
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Thrown by writes on a manager that is not the leader, before anything was done. */
export class NotLeaderError extends ShoalError {
  /** Node id of the leader, when one is known. */
  readonly leader: string | undefined;
  constructor(leader: string | undefined, options?: ErrorOptions) {
    super(
      'unavailable',
      `this manager is not the leader: the leader is ${leader ?? 'not known yet'}`,
      options,
    );
    this.leader = leader;
  }
}

/** The cluster knows the calling node no more: an operator removed it. Its certificate opens nothing again. */
export class NodeRemovedError extends ShoalError {
  readonly nodeId: string;
  constructor(nodeId: string, options?: ErrorOptions) {
    super(
      'permission-denied',
      `node ${nodeId} was removed from the cluster: it must join again`,
      options,
    );
    this.nodeId = nodeId;
  }
}

export function isShoalError(error: unknown, code?: ErrorCode): error is ShoalError {
  return error instanceof ShoalError && (code === undefined || error.code === code);
}

/** For log lines and wrapping: the message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
