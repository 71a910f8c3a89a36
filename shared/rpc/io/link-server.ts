import type { Socket } from 'node:net';
import { ShoalError } from '../../errors.ts';
import type { Log } from '../../log.ts';
import type { CallContext } from '../call-context.ts';
import type { Caller } from '../caller.ts';
import { decodeCall, LINK, type LinkFrame, LinkReader } from '../link-frames.ts';
import { loggedStatus, type RpcStatus } from '../status.ts';
import { MESSAGE_MAX_BYTES } from './client.ts';
import { FrameWriter } from './link-socket.ts';

/** Under way at once on one connection; the Engine API's clients rarely have more than a few. */
const MAX_CALLS = 4_096;
/** What may wait in a connection before a stream of responses pauses. */
const HIGH_WATER_BYTES = 4 * 1024 * 1024;

/** A method as the link serves it: bytes in, bytes out. */
export type LinkMethod =
  | Readonly<{
      kind: 'unary';
      serve: (request: Buffer, context: CallContext) => Promise<Uint8Array>;
    }>
  | Readonly<{
      kind: 'stream';
      serve: (request: Buffer, context: CallContext) => AsyncIterable<Uint8Array>;
    }>;

/**
 * The server's end of links (shared/rpc/link-frames.ts): unary calls and streams of responses, many at
 * a time on one connection. A call costs a tenth of what gRPC takes for it.
 */
export class LinkServer {
  readonly #methods = new Map<string, LinkMethod>();
  readonly #connections = new Set<LinkConnection>();
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  serve(path: string, method: LinkMethod): void {
    this.#methods.set(path, method);
  }

  /** Answers on this connection until it closes. `callerOf`: who makes a call that comes now. */
  accept(socket: Socket, callerOf: () => Caller | undefined): void {
    const connection = new LinkConnection(socket, this.#methods, callerOf, this.#log);
    this.#connections.add(connection);
    socket.once('close', () => this.#connections.delete(connection));
  }

  /** Resolves when nothing is under way, or after `graceMs`; then all connections are cut. */
  async close(graceMs: number): Promise<void> {
    const finished = Promise.all([...this.#connections].map((connection) => connection.finish()));
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, graceMs);
    await Promise.race([finished, late]);
    clearTimeout(timer);
    for (const connection of this.#connections) connection.destroy();
  }
}

class LinkConnection {
  readonly #socket: Socket;
  readonly #methods: ReadonlyMap<string, LinkMethod>;
  readonly #callerOf: () => Caller | undefined;
  readonly #log: Log;
  readonly #writer: FrameWriter;
  readonly #calls = new Map<number, AbortController>();
  #isClosing = false;
  #whenIdle: (() => void) | undefined;

  constructor(
    socket: Socket,
    methods: ReadonlyMap<string, LinkMethod>,
    callerOf: () => Caller | undefined,
    log: Log,
  ) {
    this.#socket = socket;
    this.#methods = methods;
    this.#callerOf = callerOf;
    this.#log = log;
    this.#writer = new FrameWriter(socket);
    const reader = new LinkReader(MESSAGE_MAX_BYTES);
    const take = (frame: LinkFrame) => this.#take(frame);
    socket.on('data', (chunk: Buffer) => {
      try {
        reader.push(chunk, take);
      } catch (error) {
        socket.destroy(error instanceof Error ? error : undefined);
      }
    });
    socket.on('error', (error) => log.debug('a link broke', { error: error.message }));
    socket.on('close', () => {
      for (const call of this.#calls.values()) call.abort(gone());
      this.#calls.clear();
      this.#whenIdle?.();
    });
  }

  /** Takes no more calls; resolves when none is under way. */
  finish(): Promise<void> {
    this.#isClosing = true;
    if (this.#calls.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#whenIdle = resolve;
    });
  }

  destroy(): void {
    this.#socket.destroySoon();
  }

  #take({ kind, call, payload }: LinkFrame): void {
    if (kind === LINK.call) {
      void this.#serve(call, payload);
      return;
    }
    if (kind === LINK.ping) this.#writer.put(LINK.pong, call);
    if (kind !== LINK.cancel) return; // of a later version: nothing that this one has to answer
    this.#calls.get(call)?.abort(gone());
    this.#end(call);
  }

  async #serve(call: number, payload: Uint8Array): Promise<void> {
    const controller = new AbortController();
    let path = '';
    try {
      const head = decodeCall(payload);
      path = head.path;
      const method = this.#methods.get(path);
      if (method === undefined) throw new ShoalError('unimplemented', `${path} is not served here`);
      if (this.#isClosing) throw new ShoalError('unavailable', 'this manager stops');
      if (this.#calls.size >= MAX_CALLS) {
        throw new ShoalError('resource-exhausted', `${MAX_CALLS} calls are under way already`);
      }
      this.#calls.set(call, controller);
      const { deadlineMs, metadata } = head;
      const context: CallContext = {
        caller: this.#callerOf(),
        signal: controller.signal,
        metadata: (key) => metadata?.[key],
        deadlineAtMs: deadlineMs === undefined ? undefined : Date.now() + deadlineMs,
      };
      if (method.kind === 'unary') {
        const response = await method.serve(head.request, context);
        if (!controller.signal.aborted) this.#writer.put(LINK.answer, call, response);
      } else {
        for await (const message of method.serve(head.request, context)) {
          if (controller.signal.aborted) return;
          this.#writer.put(LINK.message, call, message);
          if (this.#writer.waitingBytes > HIGH_WATER_BYTES) await this.#drained();
        }
        if (!controller.signal.aborted) this.#writer.put(LINK.end, call);
      }
    } catch (error) {
      // Who cancelled reads no status.
      if (!controller.signal.aborted) this.#fail(call, loggedStatus(error, path, this.#log));
    } finally {
      this.#end(call, controller);
    }
  }

  #fail(call: number, status: RpcStatus): void {
    this.#writer.put(LINK.error, call, Buffer.from(JSON.stringify(status)));
  }

  #end(call: number, controller?: AbortController): void {
    if (controller !== undefined && this.#calls.get(call) !== controller) return;
    this.#calls.delete(call);
    if (this.#calls.size === 0) this.#whenIdle?.();
  }

  #drained(): Promise<void> {
    return new Promise((resolve) => {
      const settle = () => {
        this.#socket.off('drain', settle);
        this.#socket.off('close', settle);
        resolve();
      };
      this.#socket.once('drain', settle);
      this.#socket.once('close', settle);
      // What waits in the writer goes to the socket in this turn's end, which then drains.
      if (this.#socket.destroyed) settle();
    });
  }
}

function gone(): ShoalError {
  return new ShoalError('cancelled', 'the client went away or stopped waiting');
}
