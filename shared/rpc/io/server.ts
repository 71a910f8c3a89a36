import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import {
  Metadata,
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type UntypedHandleCall,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { ShoalError } from '../../errors.ts';
import { type Log, silentLog } from '../../log.ts';
import type { IdentitySource } from '../../pki/identity.ts';
import type { CallContext } from '../call-context.ts';
import type { Caller } from '../caller.ts';
import { loggedStatus } from '../status.ts';
import { MESSAGE_MAX_BYTES } from './client.ts';
import { callerOf, listenForCluster, parseTarget } from './cluster-listener.ts';
import { DroppedRoots } from './dropped-roots.ts';
import { type LinkMethod, LinkServer } from './link-server.ts';
import { linkPathOf, listenAt } from './link-socket.ts';

/** What the adapters need to know of the server that a call came in by. */
type ServerEnvironment = Readonly<{
  callerOf: (call: ServerCall) => Caller | undefined;
  log: Log;
}>;
/** What the four kinds of grpc-js calls have in common. */
type ServerCall = Pick<
  ServerUnaryCall<unknown, unknown>,
  'metadata' | 'getDeadline' | 'getAuthContext'
> &
  Pick<NodeJS.EventEmitter, 'once' | 'off'>;

declare const types: unique symbol;
/** A handler that is not yet bound to a server; made by the three functions below. */
export type Handler<Req, Res> = Readonly<{
  grpc: (environment: ServerEnvironment) => UntypedHandleCall;
  /** For links, which carry no streams of requests. */
  onLink?: (definition: AnyMethod) => LinkMethod;
  [types]?: (request: Req) => Res;
}>;
type AnyMethod = MethodDefinition<unknown, unknown>;

export type UnaryFunction<Req, Res> = (request: Req, context: CallContext) => Promise<Res> | Res;
export type ServerStreamFunction<Req, Res> = (
  request: Req,
  context: CallContext,
) => AsyncIterable<Res>;
export type BidiFunction<Req, Res> = (
  requests: AsyncIterable<Req>,
  context: CallContext,
) => AsyncIterable<Res>;

/** Errors thrown become statuses (shared/rpc/status.ts); others than ShoalError are logged as well. */
export function handleUnary<Req, Res>(fn: UnaryFunction<Req, Res>): Handler<Req, Res> {
  return {
    grpc: (environment) => (call: ServerUnaryCall<Req, Res>, callback: UnaryCallback<Res>) => {
      const { context, done } = contextOf(call, environment);
      answer(fn, call.request, context).then(
        (response) => {
          done();
          callback(null, response);
        },
        (error: unknown) => {
          done();
          callback(toServerError(error, call.getPath(), environment.log));
        },
      );
    },
    onLink: ({ requestDeserialize, responseSerialize }) => ({
      kind: 'unary',
      serve: async (bytes, context) =>
        responseSerialize(await fn(requestDeserialize(bytes) as Req, context)),
    }),
  };
}

/** In a promise also when `fn` throws at once. */
async function answer<Req, Res>(
  fn: UnaryFunction<Req, Res>,
  request: Req,
  context: CallContext,
): Promise<Res> {
  return fn(request, context);
}
type UnaryCallback<Res> = (error: ServerError | null, response?: Res) => void;

/** The next message is asked of `fn` when the transport took the last: a slow client slows `fn`. */
export function handleServerStream<Req, Res>(
  fn: ServerStreamFunction<Req, Res>,
): Handler<Req, Res> {
  return {
    grpc: (environment) => (call: ServerWritableStream<Req, Res>) => {
      const untyped = call as ServerWritableStream<unknown, unknown>;
      const { context, done } = contextOf(untyped, environment);
      void pump(untyped, context, environment, () => fn(call.request, context)).finally(done);
    },
    onLink: ({ requestDeserialize, responseSerialize }) => ({
      kind: 'stream',
      async *serve(bytes, context) {
        const request = requestDeserialize(bytes) as Req;
        for await (const response of fn(request, context)) yield responseSerialize(response);
      },
    }),
  };
}

/** Like handleServerStream; `requests` ends when the client ends its side, and throws when it is lost. */
export function handleBidi<Req, Res>(fn: BidiFunction<Req, Res>): Handler<Req, Res> {
  return {
    grpc: (environment) => (call: ServerDuplexStream<Req, Res>) => {
      const untyped = call as ServerDuplexStream<unknown, unknown>;
      const { context, done } = contextOf(untyped, environment);
      const requests = requestsOf<Req>(call, context.signal);
      void pump(untyped, context, environment, () => fn(requests, context)).finally(done);
    },
  };
}

/** The handlers of a service, by the names of its generated definition. */
export type ServiceHandlers<S> = {
  [K in keyof S]: S[K] extends MethodDefinition<infer Req, infer Res> ? Handler<Req, Res> : never;
};

export type RpcServerOptions = Readonly<{
  identity: IdentitySource;
  log?: Log;
}>;

/**
 * One set of services on two kinds of listeners: mutual TLS for the network, and unix sockets for
 * this host, whose callers count as the node itself. Two gRPC servers inside, so that which kind a
 * call came by is a fact of wiring and not of anything that travels with the call.
 */
export class RpcServer {
  readonly #log: Log;
  readonly #remote: Server;
  readonly #local: Server;
  readonly #identity: IdentitySource;
  readonly #links: LinkServer;
  readonly #droppedRoots: DroppedRoots;
  readonly #listeners: { close: () => void }[] = [];
  /** That carry gRPC. */
  readonly #sockets = new Set<Socket>();
  #closing: Promise<void> | undefined;
  constructor(options: RpcServerOptions) {
    this.#log = options.log ?? silentLog;
    this.#identity = options.identity;
    this.#links = new LinkServer(this.#log);
    this.#droppedRoots = new DroppedRoots(options.identity);
    const limits = {
      'grpc.max_receive_message_length': MESSAGE_MAX_BYTES,
      'grpc.max_send_message_length': MESSAGE_MAX_BYTES,
      'grpc.keepalive_time_ms': 10_000,
      'grpc.keepalive_timeout_ms': 5_000,
      'grpc.enable_channelz': 0,
    };
    this.#remote = new Server(limits);
    this.#local = new Server(limits);
  }

  /** Register all services before listening. */
  serve<S extends ServiceDefinition>(service: S, handlers: ServiceHandlers<S>): void {
    const bind = (callerOf: ServerEnvironment['callerOf']): UntypedServiceImplementation =>
      Object.fromEntries(
        Object.entries<Handler<unknown, unknown>>(handlers).map(([name, handler]) => [
          name,
          handler.grpc({ callerOf, log: this.#log }),
        ]),
      );
    // grpc-js shows a certificate only when its chain was verified against the roots.
    const remoteCaller = (call: ServerCall) =>
      this.#callerOf(call.getAuthContext().sslPeerCertificate);
    this.#remote.addService(service, bind(remoteCaller));
    this.#local.addService(
      service,
      bind(() => this.#localCaller()),
    );
    for (const [name, definition] of Object.entries<AnyMethod>(service)) {
      const method = (handlers as Record<string, Handler<unknown, unknown>>)[name]?.onLink?.(
        definition,
      );
      if (method !== undefined) this.#links.serve(definition.path, method);
    }
  }

  /** `address`: host:port; port 0 takes a free one. Returns the port. */
  async listen(address: string): Promise<number> {
    const injector = this.#remote.createConnectionInjector(ServerCredentials.createInsecure());
    const listener = await listenForCluster({
      ...parseTarget(address),
      identity: this.#identity,
      log: this.#log,
      // It is secure: the handshake was made here, and gRPC looks at the socket it is given.
      grpc: (socket) => {
        readCertificateOnce(socket);
        this.#keep(socket);
        injector.injectConnection(socket);
      },
      link: (socket) => {
        const certificate = socket.authorized ? socket.getPeerCertificate() : undefined;
        this.#links.accept(socket, () => this.#callerOf(certificate));
      },
    });
    this.#listeners.push(listener);
    return listener.port;
  }

  /**
   * Two sockets of mode 0600: gRPC at `path`, and beside it one for links (`linkPathOf`). Those left
   * over by a process that died are replaced.
   */
  async listenLocal(path: string): Promise<void> {
    const injector = this.#local.createConnectionInjector(ServerCredentials.createInsecure());
    const grpc = await listenAt(path, (socket) => {
      this.#keep(socket);
      injector.injectConnection(socket);
    });
    const links = await listenAt(linkPathOf(path), (socket) =>
      this.#links.accept(socket, () => this.#localCaller()),
    );
    this.#listeners.push(grpc, links);
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
  }

  /** `certificate` was verified at the handshake; roots may have been dropped since. */
  #callerOf(certificate: PeerCertificate | undefined): Caller | undefined {
    if (certificate !== undefined && this.#droppedRoots.issued(certificate)) return undefined;
    return callerOf(certificate);
  }

  /** Whoever may open the socket is the node itself, and its administrator. */
  #localCaller(): Caller {
    return { ...this.#identity.current().holder, role: 'manager', local: true };
  }

  /** Lets calls end for `graceMs`, then cuts them. Streams do not end by themselves: abort them first. */
  close(graceMs = 1_000): Promise<void> {
    this.#closing ??= this.#close(graceMs);
    return this.#closing;
  }

  async #close(graceMs: number): Promise<void> {
    this.#droppedRoots.close();
    for (const listener of this.#listeners) listener.close(); // its socket goes with it
    await Promise.all([
      this.#links.close(graceMs),
      ...[this.#remote, this.#local].map((server) => shutDown(server, graceMs)),
    ]);
    // A session that was to end in peace and is cut after all leaves its socket half open: its client would wait.
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** gRPC reads it for each call, which costs a fourth of an idle leader's CPU; that of a connection never changes. */
function readCertificateOnce(socket: TLSSocket): void {
  const certificate = socket.getPeerCertificate();
  Object.assign(socket, { getPeerCertificate: () => certificate });
}

function shutDown(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      server.forceShutdown();
      resolve(); // tryShutdown() does not always call back once sessions were destroyed
    }, graceMs);
    server.tryShutdown(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

function contextOf(
  call: ServerCall,
  environment: ServerEnvironment,
): { context: CallContext; done: () => void } {
  const controller = new AbortController();
  const onCancel = () =>
    controller.abort(new ShoalError('cancelled', 'the client went away or stopped waiting'));
  call.once('cancelled', onCancel);
  const deadline = call.getDeadline();
  const deadlineAtMs = deadline instanceof Date ? deadline.getTime() : deadline;
  return {
    context: {
      caller: environment.callerOf(call),
      signal: controller.signal,
      metadata: (key) => call.metadata.get(key)[0]?.toString(),
      deadlineAtMs: Number.isFinite(deadlineAtMs) ? deadlineAtMs : undefined,
    },
    done: () => call.off('cancelled', onCancel),
  };
}

async function pump(
  call: ServerWritableStream<unknown, unknown> | ServerDuplexStream<unknown, unknown>,
  context: CallContext,
  environment: ServerEnvironment,
  open: () => AsyncIterable<unknown>,
): Promise<void> {
  try {
    for await (const message of open()) {
      if (context.signal.aborted) return;
      if (!call.write(message)) await drained(call, context.signal);
    }
    call.end();
  } catch (error) {
    // Nobody is there to read a status once the call is cancelled.
    if (context.signal.aborted) return;
    call.emit('error', toServerError(error, call.getPath(), environment.log));
  }
}

function drained(call: NodeJS.EventEmitter, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      call.off('drain', settle);
      signal.removeEventListener('abort', settle);
      resolve();
    };
    call.once('drain', settle);
    signal.addEventListener('abort', settle, { once: true });
  });
}

async function* requestsOf<Req>(
  call: ServerDuplexStream<Req, unknown>,
  signal: AbortSignal,
): AsyncGenerator<Req, void, void> {
  const readable = call as unknown as Readable;
  try {
    // Ending the loop early must not destroy the stream: its other half may still be writing.
    for await (const request of readable.iterator({ destroyOnReturn: false })) {
      yield request as Req;
    }
  } catch (error) {
    // A cancelled call is destroyed, which the iterator calls a premature close.
    throw signal.aborted ? signal.reason : error;
  }
  // HTTP/2 shows a stream that was reset as one that ended, and its closing only a moment later.
  await new Promise(setImmediate);
  signal.throwIfAborted();
}

type ServerError = Error & { code: number; details: string; metadata: Metadata };

function toServerError(error: unknown, path: string, log: Log): ServerError {
  const status = loggedStatus(error, path, log);
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(status.metadata)) metadata.set(key, value);
  return Object.assign(new Error(status.details), {
    code: status.code,
    details: status.details,
    metadata,
  });
}
