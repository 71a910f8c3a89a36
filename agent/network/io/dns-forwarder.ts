import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import type { Clock } from '../../../shared/clock.ts';
import { MessageCache } from '../dns/cache.ts';
import { forwardersOf } from '../dns/resolv-conf.ts';
import { errorMessage, readMessage, reissue } from '../dns/wire.ts';

/** glibc and musl wait 5 s for an answer: two servers must have had their turn by then. */
const ATTEMPT_MS = 2_000;
const MAX_IN_FLIGHT = 256;
/** How long the host's resolv.conf is believed. */
const SERVERS_MS = 10_000;
const SERVFAIL = 2;

export type ForwarderOptions = Readonly<{
  clock: Clock;
  /** Instead of those in the host's /etc/resolv.conf. */
  servers?: readonly string[] | undefined;
  /** Never asked: ourselves. */
  own: readonly string[];
  port?: number | undefined;
}>;

/** Questions that are not ours go to the host's name servers, one after the other. */
export class DnsForwarder {
  readonly #options: ForwarderOptions;
  readonly #cache: MessageCache;
  #servers: { list: readonly string[]; untilMs: number } | undefined;
  #inFlight = 0;

  constructor(options: ForwarderOptions) {
    this.#options = options;
    this.#cache = new MessageCache(options.clock);
  }

  /** An answer always: SERVFAIL when no server gave one. Undefined when the query is no message. */
  async ask(query: Uint8Array, transport: 'udp' | 'tcp'): Promise<Uint8Array | undefined> {
    const facts = readMessage(query);
    if (facts === undefined) return errorMessage(query, 1);
    const id = ((query[0] ?? 0) << 8) | (query[1] ?? 0);
    // All that makes an answer another one: question, flags, and extensions with their payload size.
    const key = `${transport} ${Buffer.from(query.subarray(2)).toString('latin1').toLowerCase()}`;
    const known = this.#cache.get(key);
    if (known !== undefined) return reissue(known.bytes, known.facts, id, known.ageSeconds);
    if (this.#inFlight >= MAX_IN_FLIGHT) return errorMessage(query, SERVFAIL);
    this.#inFlight += 1;
    try {
      for (const server of await this.#known()) {
        const bytes = await this.#exchange(server, query, transport);
        const answer = bytes === undefined ? undefined : readMessage(bytes);
        if (bytes === undefined || answer?.question !== facts.question) continue;
        // Another server may know more than one that fails or refuses.
        if (answer.code === SERVFAIL || answer.code === 5) continue;
        this.#cache.put(key, { bytes, facts: answer });
        return reissue(bytes, answer, id, 0);
      }
      return errorMessage(query, SERVFAIL);
    } finally {
      this.#inFlight -= 1;
    }
  }

  async #known(): Promise<readonly string[]> {
    const { clock, servers, own } = this.#options;
    if (servers !== undefined) return servers;
    const nowMs = clock.monotonicMs();
    if (this.#servers === undefined || nowMs >= this.#servers.untilMs) {
      const text = await readFile('/etc/resolv.conf', 'utf8').catch(() => '');
      this.#servers = { list: forwardersOf(text, own), untilMs: nowMs + SERVERS_MS };
    }
    return this.#servers.list;
  }

  #exchange(
    server: string,
    query: Uint8Array,
    transport: 'udp' | 'tcp',
  ): Promise<Uint8Array | undefined> {
    // An id and a source port of its own for each, so that answers are hard to forge.
    const asked = Uint8Array.from(query);
    const id = randomInt(0x10000);
    asked[0] = id >> 8;
    asked[1] = id & 0xff;
    const mine = (bytes: Uint8Array) => bytes[0] === asked[0] && bytes[1] === asked[1];
    const port = this.#options.port ?? 53;
    return transport === 'udp'
      ? this.#overUdp(server, port, asked, mine)
      : this.#overTcp(server, port, asked, mine);
  }

  #overUdp(
    server: string,
    port: number,
    query: Uint8Array,
    mine: (bytes: Uint8Array) => boolean,
  ): Promise<Uint8Array | undefined> {
    return new Promise((resolve) => {
      const socket = createSocket(server.includes(':') ? 'udp6' : 'udp4');
      const timer = this.#options.clock.after(ATTEMPT_MS, () => end(undefined));
      let ended = false;
      const end = (answer: Uint8Array | undefined) => {
        if (ended) return;
        ended = true;
        timer.cancel();
        socket.close();
        resolve(answer);
      };
      socket.on('error', () => end(undefined));
      socket.on('message', (bytes) => {
        if (mine(bytes)) end(bytes);
      });
      socket.connect(port, server, (error?: Error) => {
        if (error !== undefined && error !== null) end(undefined);
        else socket.send(query, (failed) => (failed === null ? undefined : end(undefined)));
      });
    });
  }

  #overTcp(
    server: string,
    port: number,
    query: Uint8Array,
    mine: (bytes: Uint8Array) => boolean,
  ): Promise<Uint8Array | undefined> {
    return new Promise((resolve) => {
      const socket = connect({ host: server, port, noDelay: true });
      const timer = this.#options.clock.after(ATTEMPT_MS, () => end(undefined));
      const end = (answer: Uint8Array | undefined) => {
        timer.cancel();
        socket.destroy();
        resolve(answer);
      };
      const frames = new FrameReader();
      socket.on('error', () => end(undefined));
      socket.on('close', () => end(undefined));
      socket.on('data', (chunk: Buffer) => {
        const [first] = frames.push(chunk);
        if (first !== undefined) end(mine(first) ? first : undefined);
      });
      socket.on('connect', () => socket.write(frame(query)));
    });
  }
}

/** A message with its length in front, as DNS over TCP has it. */
export function frame(message: Uint8Array): Uint8Array {
  const framed = new Uint8Array(message.length + 2);
  framed[0] = message.length >> 8;
  framed[1] = message.length & 0xff;
  framed.set(message, 2);
  return framed;
}

/** Cuts a stream into messages; holds 64 KiB at most, the largest there can be. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);

  push(chunk: Buffer): Uint8Array[] {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const messages: Uint8Array[] = [];
    while (this.#rest.length >= 2) {
      const length = this.#rest.readUInt16BE(0);
      if (this.#rest.length < length + 2) break;
      messages.push(this.#rest.subarray(2, length + 2));
      this.#rest = this.#rest.subarray(length + 2);
    }
    return messages;
  }
}
