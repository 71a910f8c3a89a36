import type { Socket } from 'node:net';
import type { MethodDefinition } from '@grpc/grpc-js';
import { messageOf, ShoalError } from '../../errors.ts';
import { encodeCall, LINK, type LinkFrame, LinkReader } from '../link-frames.ts';
import { fromStatus, type RpcStatus } from '../status.ts';
import { cancelledError, MESSAGE_MAX_BYTES, type RpcOptions, unknownOutcome } from './client.ts';
import { FrameWriter } from './link-socket.ts';

type Pending = Readonly<{
  mutates: boolean;
  message: (bytes: Buffer) => void;
  /** `last`: of a unary call its response. */
  settle: (outcome: ShoalError | Buffer | undefined) => void;
}>;

/** Between two pings while calls are under way; a link that answered none until the next one is cut. */
const PING_MS = 2_000;

export type LinkClientOptions = Readonly<{
  pingMs?: number;
  /** What is said of calls that found nobody at the other end; the cause follows after a colon. */
  notConnected?: string;
}>;

type Open = { socket: Socket; writer: FrameWriter; isConnected: boolean; isAlive: boolean };

const FIRST_CALL = 1;
const LAST_CALL = 0xffff_ffff;

/**
 * The client's end of a link (shared/rpc/link-frames.ts). It connects at the first call, and anew at
 * the first one after the connection was lost; nothing is tried again.
 */
export class LinkClient {
  readonly #connect: () => Socket;
  readonly #pending = new Map<number, Pending>();
  #open: Open | undefined;
  #nextCall = FIRST_CALL;
  #isClosed = false;

  readonly #pingMs: number;
  #pings: NodeJS.Timeout | undefined;

  readonly #notConnected: string;

  /** `connect` begins a connection; nothing is written to it before it is there, and verified. */
  constructor(connect: () => Socket, options: LinkClientOptions = {}) {
    this.#connect = connect;
    this.#pingMs = options.pingMs ?? PING_MS;
    this.#notConnected = options.notConnected ?? 'No connection established';
  }

  /** One request, one response. Rejects with ShoalError only; `cancelled` when the signal aborts. */
  async unary<Req, Res>(
    method: MethodDefinition<Req, Res>,
    request: Req,
    options: RpcOptions = {},
  ): Promise<Res> {
    const bytes = await this.#call(method.path, method.requestSerialize(request), options, unasked);
    if (bytes === undefined) {
      throw new ShoalError('internal', `${method.path} answered without a message`);
    }
    return method.responseDeserialize(bytes);
  }

  /**
   * One request, many responses; `take` gets the bytes of each as it comes, in order, and must keep
   * up: this is for answers that end soon. Resolves after the last.
   */
  async each<Req, Res>(
    method: MethodDefinition<Req, Res>,
    request: Req,
    take: (bytes: Buffer) => void,
    options: RpcOptions = {},
  ): Promise<void> {
    await this.#call(method.path, method.requestSerialize(request), options, take);
  }

  close(): void {
    this.#isClosed = true;
    this.#open?.socket.destroy();
  }

  #call(
    path: string,
    request: Uint8Array,
    options: RpcOptions,
    message: (bytes: Buffer) => void,
  ): Promise<Buffer | undefined> {
    const { signal, deadlineMs, mutates = false, metadata } = options;
    if (signal?.aborted) return Promise.reject(cancelledError(signal));
    if (this.#isClosed) {
      return Promise.reject(new ShoalError('unavailable', 'the link has been closed'));
    }
    return new Promise((resolve, reject) => {
      const { writer } = this.#connection();
      const call = this.#newCall();
      const settle = (outcome: ShoalError | Buffer | undefined) => {
        this.#pending.delete(call);
        if (this.#pending.size === 0) this.#stopPings();
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        if (outcome instanceof ShoalError) reject(outcome);
        else resolve(outcome);
      };
      const giveUp = (why: ShoalError) => {
        writer.put(LINK.cancel, call);
        settle(why);
      };
      const onAbort = () => signal && giveUp(cancelledError(signal));
      const timer =
        deadlineMs === undefined
          ? undefined
          : setTimeout(() => giveUp(tooLate(path, deadlineMs, mutates)), deadlineMs);
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#pending.set(call, { mutates, message, settle });
      this.#pings ??= setInterval(() => this.#ping(), this.#pingMs);
      writer.put(LINK.call, call, encodeCall({ path, deadlineMs, metadata }, request));
    });
  }

  #ping(): void {
    const open = this.#open;
    if (open === undefined || !open.isConnected) return; // connecting has limits of its own
    if (!open.isAlive) {
      open.socket.destroy(new Error('the other end does not answer'));
      return;
    }
    open.isAlive = false;
    open.writer.put(LINK.ping, 0);
  }

  #stopPings(): void {
    clearInterval(this.#pings);
    this.#pings = undefined;
    if (this.#open !== undefined) this.#open.isAlive = true;
  }

  #newCall(): number {
    while (this.#pending.has(this.#nextCall)) this.#advance();
    const call = this.#nextCall;
    this.#advance();
    return call;
  }

  #advance(): void {
    this.#nextCall = this.#nextCall === LAST_CALL ? FIRST_CALL : this.#nextCall + 1;
  }

  #connection() {
    if (this.#open !== undefined) return this.#open;
    const socket = this.#connect();
    const open: Open = {
      socket,
      writer: new FrameWriter(socket),
      isConnected: false,
      isAlive: true,
    };
    this.#open = open;
    socket.cork();
    const reader = new LinkReader(MESSAGE_MAX_BYTES);
    const take = (frame: LinkFrame) => this.#take(frame);
    let why = 'the connection was closed';
    socket.on(readyEvent(socket), () => {
      open.isConnected = true;
      socket.uncork();
    });
    socket.on('data', (chunk: Buffer) => {
      open.isAlive = true;
      try {
        reader.push(chunk, take);
      } catch (error) {
        socket.destroy(error instanceof Error ? error : undefined);
      }
    });
    socket.on('error', (error) => {
      why = messageOf(error);
    });
    socket.on('close', () => {
      if (this.#open === open) this.#open = undefined;
      this.#lost(open.isConnected, why);
    });
    return open;
  }

  #take({ kind, call, payload }: LinkFrame): void {
    const pending = this.#pending.get(call);
    if (pending === undefined) return; // cancelled before its answer came
    const bytes = payload as Buffer;
    if (kind === LINK.answer) pending.settle(bytes);
    else if (kind === LINK.end) pending.settle(undefined);
    else if (kind === LINK.error) pending.settle(errorOf(bytes));
    else if (kind === LINK.message) this.#message(call, pending, bytes);
  }

  #message(call: number, pending: Pending, bytes: Buffer): void {
    try {
      pending.message(bytes);
    } catch (cause) {
      this.#open?.writer.put(LINK.cancel, call);
      pending.settle(new ShoalError('internal', messageOf(cause), { cause }));
    }
  }

  /** All calls that were on it: those on their way may have been carried out. */
  #lost(wasConnected: boolean, why: string): void {
    for (const { mutates, settle } of [...this.#pending.values()]) {
      if (wasConnected && mutates) settle(unknownOutcome(why));
      else
        settle(new ShoalError('unavailable', wasConnected ? why : `${this.#notConnected}: ${why}`));
    }
  }
}

function unasked(): void {
  throw new ShoalError('internal', 'one answer was expected, several came');
}

/** TLS is ready later than the connection below it. */
function readyEvent(socket: Socket): 'connect' | 'secureConnect' {
  return 'encrypted' in socket ? 'secureConnect' : 'connect';
}

function tooLate(path: string, deadlineMs: number, mutates: boolean): ShoalError {
  const why = `${path}: no answer within ${deadlineMs} ms`;
  return mutates ? unknownOutcome(why) : new ShoalError('deadline-exceeded', why);
}

function errorOf(bytes: Buffer): ShoalError {
  const { code, details, metadata } = JSON.parse(bytes.toString()) as RpcStatus;
  return fromStatus({ code, details, metadata: (key) => metadata[key] });
}
