import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createServer, type Server, type Socket } from 'node:net';
import {
  AUTHORITATIVE_ANSWER,
  decode,
  encode,
  encodingLength,
  type OptAnswer,
  type Packet,
  RECURSION_AVAILABLE,
  RECURSION_DESIRED,
  type Answer as Record,
  TRUNCATED_RESPONSE,
} from 'dns-packet';
import { messageOf } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';
import type { Random } from '../../../shared/random.ts';
import { randomInt } from '../../../shared/random.ts';
import type { Answer, Directory } from '../dns/directory.ts';
import { errorMessage } from '../dns/wire.ts';
import { type DnsForwarder, FrameReader, frame } from './dns-forwarder.ts';

const FORMAT_ERROR = 1;
const NAME_ERROR = 3;
const REFUSED = 5;
/** What a client without EDNS takes by UDP, and the most we send to one with it (DNS flag day 2020). */
const UDP_BYTES = { least: 512, most: 1232 };
const TCP_BYTES = 65_535;
const TCP_IDLE_MS = 10_000;
const TCP_CONNECTIONS = 512;

export type DnsServerDeps = Readonly<{
  address: string;
  port: number;
  directory: Directory;
  forwarder: DnsForwarder;
  random: Random;
  log: Log;
}>;

/** The containers' name server, by UDP and TCP, one for all networks: the source address tells who asks. */
export class DnsServer {
  readonly #deps: DnsServerDeps;
  #udp: UdpSocket | undefined;
  #tcp: Server | undefined;
  readonly #connections = new Set<Socket>();

  constructor(deps: DnsServerDeps) {
    this.#deps = deps;
  }

  /** Binds both sockets unless they are bound. Throws when the address or port cannot be had. */
  async start(): Promise<void> {
    if (this.#udp !== undefined) return;
    const udp = createSocket({ type: 'udp4', recvBufferSize: 1 << 20 });
    const tcp = createServer({ noDelay: true }, (socket) => this.#serve(socket));
    tcp.maxConnections = TCP_CONNECTIONS;
    const { address, port, log } = this.#deps;
    try {
      await new Promise<void>((resolve, reject) => {
        udp.once('error', reject);
        udp.bind(port, address, resolve);
      });
      await new Promise<void>((resolve, reject) => {
        tcp.once('error', reject);
        tcp.listen(port, address, resolve);
      });
    } catch (error) {
      udp.close();
      tcp.close();
      throw error;
    }
    udp.on('error', (error) => log.warn('name server: UDP', { error: messageOf(error) }));
    tcp.on('error', (error) => log.warn('name server: TCP', { error: messageOf(error) }));
    udp.on('message', (query, { address: source, port: sourcePort }) => {
      void this.#answer(query, source, 'udp').then((answer) => {
        // A client that has gone by now is no concern of ours.
        if (answer !== undefined) udp.send(answer, sourcePort, source, () => undefined);
      });
    });
    this.#udp = udp;
    this.#tcp = tcp;
  }

  async close(): Promise<void> {
    const [udp, tcp] = [this.#udp, this.#tcp];
    this.#udp = undefined;
    this.#tcp = undefined;
    for (const socket of this.#connections) socket.destroy();
    await Promise.all([
      new Promise<void>((resolve) => (udp === undefined ? resolve() : udp.close(resolve))),
      new Promise<void>((resolve) => (tcp === undefined ? resolve() : tcp.close(() => resolve()))),
    ]);
  }

  #serve(socket: Socket): void {
    const frames = new FrameReader();
    this.#connections.add(socket);
    socket.setTimeout(TCP_IDLE_MS, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#connections.delete(socket));
    // One question after the other: a client cannot have many in work by one connection.
    let last: Promise<unknown> = Promise.resolve();
    socket.on('data', (chunk: Buffer) => {
      for (const query of frames.push(chunk)) {
        socket.pause();
        last = last
          .then(() => this.#answer(query, socket.remoteAddress ?? '', 'tcp'))
          .then((answer) => {
            if (answer !== undefined && !socket.destroyed) socket.write(frame(answer));
            socket.resume();
          });
      }
    });
  }

  async #answer(
    query: Uint8Array,
    source: string,
    transport: 'udp' | 'tcp',
  ): Promise<Uint8Array | undefined> {
    const { directory, forwarder, log } = this.#deps;
    try {
      const packet = decodeQuery(query);
      const question = packet?.questions?.[0];
      if (packet === undefined || question === undefined) return errorMessage(query, FORMAT_ERROR);
      if (!directory.knows(source)) return errorMessage(query, REFUSED);
      const answer = directory.lookup(source, question);
      if (answer.kind === 'forward') return await forwarder.ask(query, transport);
      return this.#encode(packet, answer, transport);
    } catch (error) {
      log.warn('name server: a question was not answered', { source, error: messageOf(error) });
      return errorMessage(query, 2);
    }
  }

  #encode(query: Packet, answer: Answer, transport: 'udp' | 'tcp'): Uint8Array {
    const question = query.questions?.[0];
    const name = question?.name ?? '';
    const opt = query.additionals?.find((record): record is OptAnswer => record.type === 'OPT');
    const base: Packet = {
      type: 'response',
      id: query.id ?? 0,
      flags:
        AUTHORITATIVE_ANSWER |
        RECURSION_AVAILABLE |
        ((query.flags ?? 0) & RECURSION_DESIRED) |
        (answer.kind === 'no-name' ? NAME_ERROR : 0),
      questions: query.questions ?? [],
      additionals: opt === undefined ? [] : [ownOpt()],
    };
    const answers = this.#records(name, answer);
    const whole = { ...base, answers };
    const limit = transport === 'tcp' ? TCP_BYTES : udpLimit(opt);
    const bytes = encodingLength(whole);
    const [first] = answers;
    if (bytes <= limit || first === undefined) return encode(whole);
    // All records are of one size. Old resolvers use what is there and do not ask again by TCP.
    const each = (bytes - encodingLength({ ...base, answers: [] })) / answers.length;
    const fitting = Math.max(0, answers.length - Math.ceil((bytes - limit) / each));
    return encode({
      ...base,
      flags: (base.flags ?? 0) | TRUNCATED_RESPONSE,
      answers: answers.slice(0, fitting),
    });
  }

  #records(name: string, answer: Answer): Record[] {
    switch (answer.kind) {
      case 'addresses':
        return this.#shuffled(answer.addresses).map((data) => ({
          type: 'A',
          name,
          ttl: answer.ttlSeconds,
          data,
        }));
      case 'name':
        return [{ type: 'PTR', name, ttl: answer.ttlSeconds, data: answer.name }];
      default:
        return [];
    }
  }

  /** Clients take the first address: each answer has another first. */
  #shuffled(addresses: readonly string[]): string[] {
    const shuffled = [...addresses];
    for (let i = shuffled.length - 1; i > 0; i--) {
      const j = randomInt(this.#deps.random, 0, i + 1);
      [shuffled[i], shuffled[j]] = [shuffled[j] ?? '', shuffled[i] ?? ''];
    }
    return shuffled;
  }
}

function decodeQuery(bytes: Uint8Array): Packet | undefined {
  try {
    const packet = decode(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    return packet.type === 'query' ? packet : undefined;
  } catch {
    return undefined; // answered as malformed
  }
}

function udpLimit(opt: OptAnswer | undefined): number {
  return Math.min(UDP_BYTES.most, Math.max(UDP_BYTES.least, opt?.udpPayloadSize ?? 0));
}

function ownOpt(): OptAnswer {
  return {
    type: 'OPT',
    name: '.',
    udpPayloadSize: UDP_BYTES.most,
    extendedRcode: 0,
    ednsVersion: 0,
    flags: 0,
    flag_do: false,
    options: [],
  };
}
