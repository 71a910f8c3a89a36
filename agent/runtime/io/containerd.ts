import {
  type CallOptions,
  Client,
  type ClientDuplexStream,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { type ErrorCode, ShoalError } from '../../../shared/errors.ts';

/** The part of a generated service definition that a call needs. */
type Method<Request, Response> = Readonly<{
  path: string;
  requestSerialize: (value: Request) => Buffer;
  responseDeserialize: (bytes: Buffer) => Response;
}>;
type Unary<Request, Response> = Method<Request, Response> &
  Readonly<{ requestStream: false; responseStream: false }>;
type ServerStream<Request, Response> = Method<Request, Response> &
  Readonly<{ requestStream: false; responseStream: true }>;
type Duplex<Request, Response> = Method<Request, Response> &
  Readonly<{ requestStream: true; responseStream: true }>;

export type ContainerdCall = Readonly<{
  /** Objects made by the call belong to this lease. */
  lease?: string | undefined;
  /** 0: none (for Wait). Default 30 s. */
  deadlineMs?: number;
  /** Gives up the call, not what containerd already does about it. */
  signal?: AbortSignal | undefined;
}>;

const DEFAULT_DEADLINE_MS = 30_000;
/** Lists carry each container's whole spec, about 6 KiB; grpc's own limit of 4 MiB is 700 of them. */
const MAX_MESSAGE_BYTES = 64 << 20;

/**
 * containerd's API over one connection, which comes back by itself after containerd did. Errors are
 * ShoalError with containerd's own text as message.
 */
export class ContainerdClient {
  readonly address: string;
  readonly namespace: string;
  readonly #client: Client;

  /** `address` is the path of the socket; each call is made in `namespace`. */
  constructor(options: Readonly<{ address: string; namespace: string }>) {
    this.address = options.address;
    this.namespace = options.namespace;
    this.#client = new Client(`unix://${options.address}`, credentials.createInsecure(), {
      'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
      'grpc.initial_reconnect_backoff_ms': 50,
      'grpc.min_reconnect_backoff_ms': 50,
      'grpc.max_reconnect_backoff_ms': 500,
    });
  }

  call<Request, Response>(
    method: Unary<Request, Response>,
    request: Request,
    call: ContainerdCall = {},
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      const { signal } = call;
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const onAbort = () => pending.cancel();
      const pending = this.#client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        this.#metadata(call.lease),
        deadline(call.deadlineMs ?? DEFAULT_DEADLINE_MS),
        (error, response) => {
          signal?.removeEventListener('abort', onAbort);
          if (error === null && response !== undefined) resolve(response);
          else if (signal?.aborted) reject(signal.reason);
          else reject(containerdError(error));
        },
      );
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Ends with an error when the connection does; leaving the loop cancels the call. */
  async *stream<Request, Response>(
    method: ServerStream<Request, Response>,
    request: Request,
    call: ContainerdCall = {},
  ): AsyncGenerator<Response, void, void> {
    const stream = this.#client.makeServerStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      this.#metadata(call.lease),
      deadline(call.deadlineMs ?? 0),
    );
    const onAbort = () => stream.cancel();
    if (call.signal?.aborted) stream.cancel();
    call.signal?.addEventListener('abort', onAbort, { once: true });
    try {
      for await (const message of stream) yield message as Response;
    } catch (error) {
      if (call.signal?.aborted) throw call.signal.reason;
      throw containerdError(error);
    } finally {
      call.signal?.removeEventListener('abort', onAbort);
      stream.cancel();
    }
  }

  duplex<Request, Response>(
    method: Duplex<Request, Response>,
    call: ContainerdCall = {},
  ): ClientDuplexStream<Request, Response> {
    return this.#client.makeBidiStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      this.#metadata(call.lease),
      deadline(call.deadlineMs ?? 0),
    );
  }

  close(): void {
    this.#client.close();
  }

  #metadata(lease: string | undefined): Metadata {
    const metadata = new Metadata();
    metadata.set('containerd-namespace', this.namespace);
    if (lease !== undefined) metadata.set('containerd-lease', lease);
    return metadata;
  }
}

function deadline(ms: number): CallOptions {
  return ms === 0 ? {} : { deadline: Date.now() + ms };
}

const CODES: Readonly<Record<number, ErrorCode>> = {
  [status.CANCELLED]: 'cancelled',
  [status.INVALID_ARGUMENT]: 'invalid-argument',
  [status.DEADLINE_EXCEEDED]: 'deadline-exceeded',
  [status.NOT_FOUND]: 'not-found',
  [status.ALREADY_EXISTS]: 'already-exists',
  [status.FAILED_PRECONDITION]: 'failed-precondition',
  [status.RESOURCE_EXHAUSTED]: 'resource-exhausted',
  [status.UNAVAILABLE]: 'unavailable',
  [status.UNIMPLEMENTED]: 'unimplemented',
};

/** What containerd (or the way to it) answered, as a ShoalError. Its UNKNOWN becomes `internal`. */
export function containerdError(error: unknown): ShoalError {
  if (error instanceof ShoalError) return error;
  const { code, details, message } = (error ?? {}) as Partial<ServiceError>;
  const known = CODES[code ?? status.UNKNOWN] ?? 'internal';
  const text = details || message || 'no answer';
  if (known === 'unavailable') {
    return new ShoalError(known, `containerd does not answer: ${text}`, { cause: error });
  }
  return new ShoalError(known, text, { cause: error });
}
