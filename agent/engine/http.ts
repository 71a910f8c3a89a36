import { type ErrorCode, isShoalError, messageOf, ShoalError } from '../../shared/errors.ts';
import type { Reads } from './types.ts';

/** A request as the routes see it: values and lazy readers, no sockets. */
export type Call = Readonly<{
  method: string;
  /** Path below the version prefix. */
  path: string;
  params: Readonly<Record<string, string>>;
  query: URLSearchParams;
  /** Lower-case names; of repeated headers the first. */
  headers: Readonly<Record<string, string | undefined>>;
  /** Minor number of the API version asked for: 24 to 48. */
  api: number;
  /** The parsed body. Throws HttpError 400 or 413; 400 when there is none. */
  json(): Promise<unknown>;
  /** The same, but undefined when there is none. */
  optionalJson(): Promise<unknown>;
  /** The body as it comes; read at most once. */
  body(): AsyncIterable<Uint8Array>;
  /** Aborts when the client goes away. */
  signal: AbortSignal;
  /** For routes whose answer is to tell how old it is: all their reads are made with it. */
  reads: Reads;
}>;

/** The client's side of a hijacked connection. */
export interface Duplex {
  /** What the client sends, until it closes its half. */
  input(): AsyncIterable<Uint8Array>;
  /** Resolves when there is room for more. Bytes for a client that is gone are dropped. */
  write(data: Uint8Array): Promise<void>;
}

export type Reply =
  | Readonly<{
      kind: 'json';
      status: number;
      body: unknown;
      headers?: Readonly<Record<string, string>>;
    }>
  | Readonly<{
      kind: 'text';
      status: number;
      body: string | Buffer;
      contentType: string;
      headers?: Readonly<Record<string, string>>;
    }>
  | Readonly<{ kind: 'empty'; status: number; headers?: Readonly<Record<string, string>> }>
  /** Headers leave at once, then the chunks as they come; an error cuts the connection. */
  | Readonly<{
      kind: 'stream';
      status: number;
      contentType: string;
      chunks: AsyncIterable<Uint8Array | string>;
    }>
  /** The connection becomes raw bytes both ways, and is closed when `run` is done. */
  | Readonly<{
      kind: 'hijack';
      /** Answered when the client asked for an upgrade; else it is the raw one. */
      contentType: string;
      run(duplex: Duplex): Promise<void>;
    }>;

export type Handler = (call: Call) => Promise<Reply> | Reply;

export const RAW_STREAM = 'application/vnd.docker.raw-stream';
export const MULTIPLEXED_STREAM = 'application/vnd.docker.multiplexed-stream';

export const json = (body: unknown, status = 200): Reply => ({ kind: 'json', status, body });
const OPEN = Buffer.from('[');
const BETWEEN = Buffer.from(',');
const CLOSE = Buffer.from(']');
const END = Buffer.from('\n');

/** JSON that is text already. */
export const jsonText = (text: Buffer): Reply => jsonParts([text]);
/** A list of such texts. */
export const jsonTexts = (items: readonly Buffer[]): Reply =>
  jsonParts([OPEN, ...items.flatMap((item, i) => (i === 0 ? [item] : [BETWEEN, item])), CLOSE]);
const jsonParts = (parts: Buffer[]): Reply => ({
  kind: 'text',
  status: 200,
  body: Buffer.concat([...parts, END]),
  contentType: 'application/json',
});
export const empty = (status = 200): Reply => ({ kind: 'empty', status });

/** An error that already knows its HTTP status and its exact words. */
export class HttpError extends Error {
  readonly status: number;
  constructor(status: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.status = status;
  }
}

/**
 * Every code's HTTP status, and what gRPC calls it: the API shows errors of the control plane as
 * `rpc error: code = X desc = ...`, and clients look for these words. The whole table is here.
 */
const CODES: Readonly<Record<ErrorCode, Readonly<{ status: number; rpc: string }>>> = {
  'invalid-argument': { status: 400, rpc: 'InvalidArgument' },
  'not-found': { status: 404, rpc: 'NotFound' },
  'already-exists': { status: 409, rpc: 'AlreadyExists' },
  'failed-precondition': { status: 400, rpc: 'FailedPrecondition' },
  // Swarm has no code of its own for it; clients that re-read and retry look for the text.
  'out-of-sequence': { status: 500, rpc: 'Unknown' },
  'permission-denied': { status: 403, rpc: 'PermissionDenied' },
  unauthenticated: { status: 401, rpc: 'Unauthenticated' },
  'resource-exhausted': { status: 500, rpc: 'ResourceExhausted' },
  unavailable: { status: 503, rpc: 'Unavailable' },
  'unknown-outcome': { status: 500, rpc: 'Unknown' },
  'deadline-exceeded': { status: 500, rpc: 'DeadlineExceeded' },
  cancelled: { status: 500, rpc: 'Canceled' },
  unimplemented: { status: 501, rpc: 'Unimplemented' },
  internal: { status: 500, rpc: 'Internal' },
};

/** On this host, what the state forbids is a conflict: a running container, an image in use. */
const LOCAL_STATUS: Partial<Record<ErrorCode, number>> = { 'failed-precondition': 409 };

/** What a client is told about an error of this host. */
export function errorAnswer(error: unknown): { status: number; message: string } {
  if (error instanceof HttpError) return { status: error.status, message: error.message };
  if (isShoalError(error)) {
    const status = LOCAL_STATUS[error.code] ?? CODES[error.code].status;
    return { status, message: error.message };
  }
  return { status: 500, message: messageOf(error) || 'internal error' };
}

/** An error of the control plane, in its words. */
export function rpcError(error: unknown): unknown {
  if (!isShoalError(error)) return error;
  const { status, rpc } = CODES[error.code];
  const words = error.code === 'out-of-sequence' ? 'update out of sequence' : error.message;
  return new HttpError(status, `rpc error: code = ${rpc} desc = ${words}`, { cause: error });
}

export function notSupported(what: string): ShoalError {
  return new ShoalError('unimplemented', `this is not supported yet: ${what}`);
}

/** Docker's reading of a boolean in a query. */
export function isTrue(value: string | null): boolean {
  return value !== null && !['', '0', 'no', 'false', 'none'].includes(value.trim().toLowerCase());
}
