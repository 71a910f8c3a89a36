import { createSecureContext } from 'node:tls';
import {
  type CallOptions,
  type ChannelCredentials,
  type ChannelOptions,
  Client,
  credentials as grpcCredentials,
  Metadata,
  type MethodDefinition,
  type ServiceError,
} from '@grpc/grpc-js';
import { messageOf, ShoalError } from '../../errors.ts';
import type { IdentitySource } from '../../pki/identity.ts';
import { holderOf } from '../../pki/roles.ts';
import { fromStatus, isVerdict, type ReceivedStatus } from '../status.ts';
import { ClusterChannelCredentials } from './credentials.ts';

export type Channel = Client;

/** gRPC's own default for receiving is 4 MiB; streams are chunked far below both. */
export const MESSAGE_MAX_BYTES = 8 * 1024 * 1024;

const CHANNEL_OPTIONS: ChannelOptions = {
  'grpc.max_receive_message_length': MESSAGE_MAX_BYTES,
  'grpc.max_send_message_length': MESSAGE_MAX_BYTES,
  // A host that lost power sends no FIN: pings find out while calls are open.
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.keepalive_permit_without_calls': 0,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.min_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2_000,
  'grpc.enable_channelz': 0,
  'grpc.enable_http_proxy': 0, // cluster traffic never goes through an operator's web proxy
  'grpc.service_config_disable_resolution': 1,
  // Also what TLS sends as the server's name, where an address would not be allowed.
  'grpc.ssl_target_name_override': 'swarm-manager',
};

/**
 * A channel to `target` (`unix:///path` or `host:port`). It connects at the first call and connects
 * anew when the connection is lost; close it with `channel.close()`.
 */
export function openChannel(
  target: string,
  credentials: ChannelCredentials,
  options: ChannelOptions = {},
): Channel {
  return new Client(target, credentials, { ...CHANNEL_OPTIONS, ...options });
}

/** For another host: mutual TLS 1.3, the server must be a manager of the identity's cluster. */
export function clusterCredentials(identity: IdentitySource): ChannelCredentials {
  return new ClusterChannelCredentials(identity);
}

/** For a node that has no certificate yet: the server must be a manager by one of these roots. */
export function clusterRootCredentials(rootsPem: string): ChannelCredentials {
  return grpcCredentials.createFromSecureContext(
    createSecureContext({ ca: rootsPem, minVersion: 'TLSv1.3' }),
    {
      checkServerIdentity: (_name, certificate) =>
        holderOf(certificate.subject)?.role === 'manager'
          ? undefined
          : new Error('the server is not a manager of the cluster'),
    },
  );
}

/** For unix sockets, whose file mode is the protection. */
export function localCredentials(): ChannelCredentials {
  return grpcCredentials.createInsecure();
}

export type RpcOptions = Readonly<{
  signal?: AbortSignal | undefined;
  /** From now on. Without it a call waits as long as its connection lives. */
  deadlineMs?: number | undefined;
  metadata?: Readonly<Record<string, string>> | undefined;
  /**
   * Of a call that changes state: when the transport and not the server's handler ended it after
   * it may have been sent, the error is `unknown-outcome` instead of `unavailable`.
   */
  mutates?: boolean | undefined;
}>;

type StreamDefinition<Req, Res> = MethodDefinition<Req, Res>;

/** One request, one response. Rejects with ShoalError only; `cancelled` when the signal aborts. */
export function unary<Req, Res>(
  channel: Channel,
  method: MethodDefinition<Req, Res>,
  request: Req,
  options: RpcOptions = {},
): Promise<Res> {
  return new Promise<Res>((resolve, reject) => {
    if (options.signal?.aborted) {
      reject(cancelledError(options.signal));
      return;
    }
    const call = channel.makeUnaryRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      toMetadata(options.metadata),
      callOptions(options),
      (error, response) => {
        stop();
        if (error) reject(toShoalError(error, options));
        else if (response === undefined) {
          reject(new ShoalError('internal', `${method.path} answered without a message`));
        } else resolve(response);
      },
    );
    const stop = cancelOnAbort(call, options.signal);
  });
}

/**
 * One request, many responses. The next message is read when the last was taken, so a slow reader
 * slows the server down; leaving the loop cancels the call. Throws ShoalError only.
 */
export async function* serverStream<Req, Res>(
  channel: Channel,
  method: StreamDefinition<Req, Res>,
  request: Req,
  options: RpcOptions = {},
): AsyncGenerator<Res, void, void> {
  if (options.signal?.aborted) throw cancelledError(options.signal);
  const call = channel.makeServerStreamRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
    request,
    toMetadata(options.metadata),
    callOptions(options),
  );
  yield* readAll<Res>(call, options);
}

export type BidiCall<Req, Res> = Readonly<{
  /**
   * Resolves when the message was taken by the transport: awaiting it is the back-pressure. Of a call that
   * has ended it may never settle, so wait for `responses` beside it.
   */
  send(message: Req): Promise<void>;
  /** No more messages from this side; the other side may go on. */
  end(): void;
  /** Ends normally when the server ends the call with OK; throws ShoalError otherwise. Read it once. */
  responses: AsyncIterable<Res>;
  cancel(): void;
}>;

/** Many requests, many responses. */
export function bidiStream<Req, Res>(
  channel: Channel,
  method: StreamDefinition<Req, Res>,
  options: RpcOptions = {},
): BidiCall<Req, Res> {
  if (options.signal?.aborted) throw cancelledError(options.signal);
  const call = channel.makeBidiStreamRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
    toMetadata(options.metadata),
    callOptions(options),
  );
  // The reader reports errors; without a listener an error before the first read would be fatal.
  call.on('error', () => undefined);
  return {
    send: (message) =>
      new Promise((resolve, reject) => {
        call.write(message, (error?: Error | null) => {
          if (error) reject(toShoalError(error, options));
          else resolve();
        });
      }),
    end: () => call.end(),
    responses: readAll<Res>(call, options),
    cancel: () => call.cancel(),
  };
}

/**
 * Many requests, one response. The next request is taken when the transport has room for it; when the call has
 * ended none is, and `requests` is left.
 */
export async function clientStream<Req, Res>(
  channel: Channel,
  method: StreamDefinition<Req, Res>,
  requests: AsyncIterable<Req>,
  options: RpcOptions = {},
): Promise<Res> {
  if (options.signal?.aborted) throw cancelledError(options.signal);
  const answer = Promise.withResolvers<Res>();
  const call = channel.makeClientStreamRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
    toMetadata(options.metadata),
    callOptions(options),
    (error, response) => {
      if (error) answer.reject(toShoalError(error, options));
      else if (response === undefined) {
        answer.reject(new ShoalError('internal', `${method.path} answered without a message`));
      } else answer.resolve(response);
    },
  );
  const stop = cancelOnAbort(call, options.signal);
  let isOver = false;
  let goOn: (() => void) | undefined;
  call.on('drain', () => goOn?.());
  const sending = (async () => {
    for await (const request of requests) {
      if (isOver) break;
      if (call.write(request)) continue;
      await new Promise<void>((resolve) => {
        goOn = resolve;
      });
    }
    call.end();
  })();
  try {
    // The answer may come before all was sent: the other side wants no more, or the call broke.
    await Promise.race([answer.promise, sending.then(() => answer.promise)]);
    return await answer.promise;
  } finally {
    isOver = true;
    goOn?.(); // A call that has ended does not drain.
    stop();
    call.cancel();
  }
}

type ReadableCall = AsyncIterable<unknown> & {
  cancel(): void;
  on(event: 'error', listener: (error: Error) => void): unknown;
};

async function* readAll<Res>(
  call: ReadableCall,
  options: RpcOptions,
): AsyncGenerator<Res, void, void> {
  const stop = cancelOnAbort(call, options.signal);
  // The iterator removes its own listener at the end; the status may still come after that.
  call.on('error', () => undefined);
  try {
    for await (const message of call) yield message as Res;
  } catch (error) {
    throw toShoalError(error, options);
  } finally {
    stop();
    call.cancel();
  }
}

function cancelOnAbort(call: { cancel(): void }, signal: AbortSignal | undefined): () => void {
  if (signal === undefined) return () => undefined;
  const onAbort = () => call.cancel();
  signal.addEventListener('abort', onAbort, { once: true });
  return () => signal.removeEventListener('abort', onAbort);
}

function callOptions(options: RpcOptions): CallOptions {
  return options.deadlineMs === undefined ? {} : { deadline: Date.now() + options.deadlineMs };
}

function toMetadata(entries: Readonly<Record<string, string>> | undefined): Metadata {
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(entries ?? {})) metadata.set(key, value);
  return metadata;
}

export function cancelledError(signal: AbortSignal): ShoalError {
  return new ShoalError('cancelled', `the call was cancelled: ${messageOf(signal.reason)}`, {
    cause: signal.reason,
  });
}

function toShoalError(error: unknown, options: RpcOptions): ShoalError {
  if (options.signal?.aborted) return cancelledError(options.signal);
  if (!isServiceError(error)) {
    return new ShoalError('internal', messageOf(error), { cause: error });
  }
  const status: ReceivedStatus = {
    code: error.code,
    details: error.details,
    metadata: (key) => {
      const [value] = error.metadata?.get(key) ?? [];
      return value === undefined ? undefined : value.toString();
    },
  };
  const result = fromStatus(status, error);
  if (options.mutates !== true || isVerdict(status) || NEVER_SENT.test(status.details)) {
    return result;
  }
  const lost: readonly string[] = ['unavailable', 'deadline-exceeded', 'internal', 'cancelled'];
  if (!lost.includes(result.code)) return result;
  return unknownOutcome(status.details, error);
}

/** Of a call that changes state and may have been carried out. */
export function unknownOutcome(why: string, cause?: unknown): ShoalError {
  return new ShoalError(
    'unknown-outcome',
    `the answer was lost (${why}): read the state before trying again`,
    { cause },
  );
}

/** grpc-js's texts for calls that never left this process. */
const NEVER_SENT =
  /^(No connection established|Name resolution failed|The channel has been closed)/;

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && typeof error.code === 'number';
}
