import {
  type ErrorCode,
  messageOf,
  NodeRemovedError,
  NotLeaderError,
  ShoalError,
} from '../errors.ts';
import type { Log } from '../log.ts';

/**
 * The one place where ShoalError meets gRPC. The pairs are one to one, and the exact code travels in
 * trailing metadata beside the status, so that what an intermediary or a library answered (no
 * `shoal-code`) can be told from what the other side decided.
 */
const GRPC_STATUS = {
  cancelled: 1,
  'unknown-outcome': 2,
  'invalid-argument': 3,
  'deadline-exceeded': 4,
  'not-found': 5,
  'already-exists': 6,
  'permission-denied': 7,
  'resource-exhausted': 8,
  'failed-precondition': 9,
  'out-of-sequence': 10,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const satisfies Record<ErrorCode, number>;

const CODE_OF_STATUS: ReadonlyMap<number, ErrorCode> = new Map<number, ErrorCode>([
  ...(Object.entries(GRPC_STATUS) as [ErrorCode, number][]).map(
    ([code, status]): [number, ErrorCode] => [status, code],
  ),
  [11, 'invalid-argument'], // OUT_OF_RANGE: never sent by us
  [15, 'internal'], // DATA_LOSS: never sent by us
]);

/**
 * Trailing metadata: the ErrorCode; of a NotLeaderError the leader's node id ('' = not known), of a
 * NodeRemovedError the removed node's.
 */
const CODE_KEY = 'shoal-code';
const LEADER_KEY = 'shoal-leader';
const REMOVED_KEY = 'shoal-removed';

/** HTTP/2 header lists are limited to 16 KiB as a whole, and percent encoding can triple a text. */
const DETAILS_MAX_CHARACTERS = 4_000;

export type RpcStatus = Readonly<{
  /** gRPC status code, 1 to 16. */
  code: number;
  details: string;
  metadata: Readonly<Record<string, string>>;
}>;

/** What anything thrown by a handler looks like on the wire; what is not a ShoalError is `internal`. */
export function toStatus(error: unknown): RpcStatus {
  const code: ErrorCode = error instanceof ShoalError ? error.code : 'internal';
  const text = messageOf(error);
  const details =
    text.length > DETAILS_MAX_CHARACTERS ? `${text.slice(0, DETAILS_MAX_CHARACTERS)}…` : text;
  const metadata: Record<string, string> = { [CODE_KEY]: code };
  if (error instanceof NotLeaderError) metadata[LEADER_KEY] = error.leader ?? '';
  if (error instanceof NodeRemovedError) metadata[REMOVED_KEY] = error.nodeId;
  return { code: GRPC_STATUS[code], details, metadata };
}

/** The same, for a call of `path`; what is not a ShoalError is a bug and goes to the log as well. */
export function loggedStatus(error: unknown, path: string, log: Log): RpcStatus {
  if (!(error instanceof ShoalError)) {
    log.error('a call failed unexpectedly', {
      path,
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
  }
  return toStatus(error);
}

export type ReceivedStatus = Readonly<{
  code: number;
  details: string;
  /** First value of a key of the trailing metadata. */
  metadata: (key: string) => string | undefined;
}>;

/** The error of a received status; throws nothing. `cause` keeps the library's own error. */
export function fromStatus(status: ReceivedStatus, cause?: unknown): ShoalError {
  const options = cause === undefined ? undefined : { cause };
  const leader = status.metadata(LEADER_KEY);
  if (leader !== undefined) return new NotLeaderError(leader === '' ? undefined : leader, options);
  const removed = status.metadata(REMOVED_KEY);
  if (removed !== undefined) return new NodeRemovedError(removed, options);
  const named = status.metadata(CODE_KEY);
  const code = isErrorCode(named) ? named : (CODE_OF_STATUS.get(status.code) ?? 'internal');
  return new ShoalError(code, tidy(status.details), options);
}

/** grpc-js's texts have parts for its own developers. */
const NOT_CONNECTED =
  /^(No connection established)\. Last error: (?:Error: )?(.*?)\.? Resolution note: ?.*$/s;

function tidy(details: string): string {
  return details.replace(NOT_CONNECTED, '$1: $2');
}

/** Whether the other side's handler decided this status; false: the transport or a library did. */
export function isVerdict(status: ReceivedStatus): boolean {
  return status.metadata(CODE_KEY) !== undefined;
}

function isErrorCode(text: string | undefined): text is ErrorCode {
  return text !== undefined && Object.hasOwn(GRPC_STATUS, text);
}
