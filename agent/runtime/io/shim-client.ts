import { connect } from 'node:net';
import { messageOf, ShoalError } from '../../../shared/errors.ts';
import {
  ShimDeleteRequest,
  ShimKillRequest,
  ShimShutdownRequest,
  TtrpcRequest,
  TtrpcResponse,
} from '../../../shared/gen/containerd/shim.ts';
import { SIGKILL } from '../../../shared/model/signal.ts';

const SERVICE = 'containerd.task.v2.Task';
const HEADER_BYTES = 10;
const REQUEST = 1;
const RESPONSE = 2;
/** Far above any answer to the calls made here; more is not a shim. */
const MAX_ANSWER_BYTES = 1 << 20;

/** A shim, spoken to past containerd. `address` as in the file of that name: `unix:///run/containerd/s/...`. */
export class ShimClient {
  readonly #path: string;
  readonly #namespace: string;
  readonly #timeoutMs: number;

  constructor(address: string, namespace: string, timeoutMs: number) {
    this.#path = address.replace(/^unix:\/\//, '');
    this.#namespace = namespace;
    this.#timeoutMs = timeoutMs;
  }

  /** Waits for a creation in progress, and kills what came of it. */
  kill(id: string): Promise<void> {
    const request = { id, execId: '', signal: SIGKILL, all: false };
    return this.#call('Kill', ShimKillRequest.encode(request).finish());
  }

  /** Throws `failed-precondition` while its processes still run. */
  delete(id: string): Promise<void> {
    return this.#call('Delete', ShimDeleteRequest.encode({ id, execId: '' }).finish());
  }

  /** Ends the shim, unless it has containers. */
  shutdown(id: string): Promise<void> {
    return this.#call('Shutdown', ShimShutdownRequest.encode({ id, now: false }).finish());
  }

  /** One connection per call: these are rare. */
  #call(method: string, payload: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket = connect(this.#path);
      const fail = (code: 'unavailable' | 'not-found' | 'failed-precondition', why: string) => {
        socket.destroy();
        reject(new ShoalError(code, `shim ${method}: ${why}`));
      };
      let received = Buffer.alloc(0);
      socket.setTimeout(this.#timeoutMs, () => fail('unavailable', 'no answer in time'));
      socket.on('error', (error) => fail('unavailable', messageOf(error)));
      socket.on('close', () => fail('unavailable', 'it hung up'));
      socket.on('connect', () => socket.write(this.#frame(method, payload)));
      socket.on('data', (chunk) => {
        received = Buffer.concat([received, chunk]);
        const answer = answerIn(received);
        if (answer === undefined) {
          if (received.length > MAX_ANSWER_BYTES) fail('unavailable', 'its answer is no ttrpc');
          return;
        }
        const { code = 0, message = '' } = answer.status ?? {};
        if (code === 5) fail('not-found', message);
        else if (code !== 0) fail('failed-precondition', message);
        else {
          socket.destroy();
          resolve();
        }
      });
    });
  }

  #frame(method: string, payload: Uint8Array): Buffer {
    const body = TtrpcRequest.encode({
      service: SERVICE,
      method,
      payload: Buffer.from(payload),
      timeoutNano: this.#timeoutMs * 1e6,
      metadata: [{ key: 'containerd-namespace-ttrpc', value: this.#namespace }],
    }).finish();
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt32BE(body.length, 0);
    header.writeUInt32BE(1, 4); // the first stream of this connection
    header.writeUInt8(REQUEST, 8);
    return Buffer.concat([header, body]);
  }
}

/** The answer, once it is there whole. */
function answerIn(received: Buffer): TtrpcResponse | undefined {
  if (received.length < HEADER_BYTES || received.readUInt8(8) !== RESPONSE) return undefined;
  const end = HEADER_BYTES + received.readUInt32BE(0);
  if (received.length < end) return undefined;
  return TtrpcResponse.decode(received.subarray(HEADER_BYTES, end));
}
