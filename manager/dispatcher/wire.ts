import {
  AssignmentChange,
  Assignments,
  ManagerMessage,
} from '../../shared/gen/shoal/v1/dispatcher.ts';

// Assignments are put together from changes that were encoded before (once for all sessions that send
// them), so this is done on the bytes: a repeated field is its records laid end to end, in any place.

/** Of one message; gRPC takes 4 MiB by default, and a stream of smaller ones keeps heartbeats moving. */
export const CHUNK_MAX_BYTES = 1024 * 1024 - 64 * 1024;

/** Tag bytes: field number * 8 + 2 (length-delimited). */
const CHANGES_TAG = 5 * 8 + 2;
const ASSIGNMENTS_TAG = 2 * 8 + 2;

export type AssignmentsHead = Omit<Assignments, 'changes'>;

/** A whole ManagerMessage. `changes`: encoded AssignmentChange each. */
export function encodeAssignments(
  head: AssignmentsHead,
  changes: readonly Uint8Array[],
): Uint8Array {
  const start = Assignments.encode({ ...head, changes: [] }).finish();
  const bodyLength = changes.reduce((sum, change) => sum + sizeInMessage(change), start.length);
  const out = new Uint8Array(1 + varintLength(bodyLength) + bodyLength);
  out[0] = ASSIGNMENTS_TAG;
  let at = writeVarint(out, 1, bodyLength);
  out.set(start, at);
  at += start.length;
  for (const change of changes) {
    out[at] = CHANGES_TAG;
    at = writeVarint(out, at + 1, change.length);
    out.set(change, at);
    at += change.length;
  }
  return out;
}

export function encodeRemoval(key: string): Uint8Array {
  return AssignmentChange.encode({ key }).finish();
}

/** Bytes that one change adds to a message. */
export function sizeInMessage(change: Uint8Array): number {
  return 1 + varintLength(change.length) + change.length;
}

export function encodeMessage(message: NonNullable<ManagerMessage['message']>): Uint8Array {
  return ManagerMessage.encode({ message }).finish();
}

function varintLength(value: number): number {
  let length = 1;
  for (let left = value >>> 7; left > 0; left >>>= 7) length += 1;
  return length;
}

function writeVarint(out: Uint8Array, at: number, value: number): number {
  let left = value;
  let next = at;
  while (left >= 0x80) {
    out[next++] = (left & 0x7f) | 0x80;
    left >>>= 7;
  }
  out[next++] = left;
  return next;
}
