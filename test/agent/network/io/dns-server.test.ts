import { createSocket } from 'node:dgram';
import { connect, createServer } from 'node:net';
import test from 'ava';
import { decode, encode, type Packet } from 'dns-packet';
import { Directory } from '../../../../agent/network/dns/directory.ts';
import { DnsForwarder, FrameReader, frame } from '../../../../agent/network/io/dns-forwarder.ts';
import { DnsServer } from '../../../../agent/network/io/dns-server.ts';
import { systemClock } from '../../../../shared/io/system.ts';
import { silentLog } from '../../../../shared/log.ts';
import { freePort } from '../../../support/ports.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';
import { decodeView } from '../support/views.ts';

// On loopback addresses: 127.0.0.1 is the only task, on one network with a service of many tasks.
const directory = new Directory();
directory.update(
  decodeView(
    {
      revision: 1,
      networks: [{ id: 'front', name: 'front', vni: 4097, subnet: '10.0.0.0/16' }],
      hosts: [],
      services: [
        {
          id: 'web',
          name: 'web',
          network: 'front',
          vip: '10.0.255.1',
          tasks: Array.from({ length: 200 }, (_, i) => ({
            id: `t${i}`,
            node: 'n1',
            address: `10.0.1.${i}`,
          })),
        },
      ],
    },
    'n1',
  ),
  [
    {
      task: {
        taskId: 'me',
        serviceId: '',
        hostname: 'me',
        hostPorts: [],
        attachments: [{ networkId: 'front', address: '10.0.2.2/16' }],
      },
      addresses: [{ networkId: 'front', address: '127.0.0.1' }],
    },
  ],
);

/** A name server outside: answers A with 192.0.2.1, "gone.example" with NXDOMAIN, "slow.example" never. */
const outside = createSocket('udp4');
const asked: string[] = [];
const reply = (query: Buffer): Buffer | undefined => {
  const packet = decode(query);
  const name = packet.questions?.[0]?.name ?? '';
  asked.push(name);
  if (name === 'slow.example') return undefined;
  const missing = name === 'gone.example';
  return encode({
    type: 'response',
    id: packet.id ?? 0,
    flags: 0x180 | (missing ? 3 : 0),
    questions: packet.questions ?? [],
    answers: missing ? [] : [{ type: 'A', name, ttl: 100, data: '192.0.2.1' }],
  });
};
outside.on('message', (query, from) => {
  const answer = reply(query);
  if (answer !== undefined) outside.send(answer, from.port, from.address);
});
const outsideTcp = createServer((socket) => {
  const frames = new FrameReader();
  socket.on('data', (chunk: Buffer) => {
    for (const query of frames.push(chunk)) {
      const answer = reply(Buffer.from(query));
      if (answer !== undefined) socket.write(frame(answer));
    }
  });
});

let server: DnsServer;
let port = 0;
test.before(async () => {
  await new Promise<void>((done) => outside.bind(0, '127.0.0.2', done));
  const forwardPort = outside.address().port;
  await new Promise<void>((done) => outsideTcp.listen(forwardPort, '127.0.0.2', done));
  // 127.0.0.3 has nobody listening: refused at once, so the next one is asked.
  const forwarder = new DnsForwarder({
    clock: systemClock,
    servers: ['127.0.0.3', '127.0.0.2'],
    own: [],
    port: forwardPort,
  });
  port = await freePort(); // below the range that UDP sockets are given ports of, too
  server = new DnsServer({
    address: '127.0.0.1',
    port,
    directory,
    forwarder,
    random: new SeededRandom(1),
    log: silentLog,
  });
  await server.start();
  await server.start(); // binding twice is no error
});
test.after.always(async () => {
  await server.close();
  outside.close();
  outsideTcp.close();
});

const query = (name: string, type: 'A' | 'AAAA' = 'A', edns = 0): Buffer =>
  encode({
    type: 'query',
    id: 4711,
    flags: 0x100,
    questions: [{ type, name }],
    additionals:
      edns === 0
        ? []
        : [
            {
              type: 'OPT',
              name: '.',
              udpPayloadSize: edns,
              extendedRcode: 0,
              ednsVersion: 0,
              flags: 0,
              flag_do: false,
              options: [],
            },
          ],
  });
const RCODES = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED'];
const codeOf = (packet: Packet) => RCODES[(packet.flags ?? 0) & 15];
const isCut = (packet: Packet) => ((packet.flags ?? 0) & 0x200) !== 0;
const data = (packet: Packet) =>
  (packet.answers ?? []).map((answer) => ('data' in answer ? String(answer.data) : ''));

function udp(bytes: Uint8Array, from = '127.0.0.1'): Promise<{ packet: Packet; length: number }> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    socket.on('error', reject);
    socket.on('message', (answer) => {
      socket.close();
      resolve({ packet: decode(answer), length: answer.length });
    });
    socket.bind(0, from, () => socket.send(bytes, port, '127.0.0.1'));
  });
}

function tcp(...queries: Uint8Array[]): Promise<Packet[]> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    const frames = new FrameReader();
    const packets: Packet[] = [];
    socket.on('error', reject);
    socket.on('data', (chunk: Buffer) => {
      packets.push(...frames.push(chunk).map((bytes) => decode(Buffer.from(bytes))));
      if (packets.length < queries.length) return;
      socket.destroy();
      resolve(packets);
    });
    // In odd pieces, as a network may deliver them.
    const stream = Buffer.concat(queries.map((bytes) => frame(bytes)));
    socket.write(stream.subarray(0, 3));
    setTimeout(() => socket.write(stream.subarray(3)), 20);
  });
}

test('a service is answered with its VIP', async (t) => {
  const { packet } = await udp(query('web'));
  t.is(packet.id, 4711);
  t.is(codeOf(packet), 'NOERROR');
  t.deepEqual(data(packet), ['10.0.255.1']);
});

test('AAAA of a name we know is empty, not "no such name"', async (t) => {
  const { packet } = await udp(query('web', 'AAAA'));
  t.is(codeOf(packet), 'NOERROR');
  t.deepEqual(data(packet), []);
});

test('an answer that is too long is cut to what the client takes, and whole by TCP', async (t) => {
  for (const [edns, limit] of [
    [0, 512],
    [1000, 1000],
    [4096, 1232],
  ] as const) {
    const { packet, length } = await udp(query('tasks.web', 'A', edns));
    t.true(isCut(packet));
    t.true(length <= limit);
    t.true(length > limit - 60, 'as many as fit');
    t.is(packet.additionals?.length, edns === 0 ? 0 : 1);
  }
  const [packet] = await tcp(query('tasks.web'));
  t.is(data(packet ?? {}).length, 200);
  t.false(isCut(packet ?? {}));
});

test('addresses come in another order each time', async (t) => {
  const firsts = new Set<string>();
  for (let i = 0; i < 10; i++) firsts.add(data((await udp(query('tasks.web'))).packet)[0] ?? '');
  t.true(firsts.size > 3);
});

test('several questions on one connection are answered in order', async (t) => {
  const packets = await tcp(query('web'), query('outer.example'), query('web'));
  t.deepEqual(packets.map(data), [['10.0.255.1'], ['192.0.2.1'], ['10.0.255.1']]);
});

test('other names are asked for outside, once, and handed on with the right id', async (t) => {
  for (let i = 0; i < 3; i++) {
    const { packet } = await udp(query('cached.example'));
    t.is(packet.id, 4711);
    t.deepEqual(data(packet), ['192.0.2.1']);
  }
  t.is(asked.filter((name) => name === 'cached.example').length, 1);
  t.is(codeOf((await udp(query('gone.example'))).packet), 'NXDOMAIN');
});

test('a name server that does not answer makes SERVFAIL within the time a client waits', async (t) => {
  t.is(codeOf((await udp(query('slow.example'))).packet), 'SERVFAIL');
});

test('strangers are refused, and what is no query is an error', async (t) => {
  t.is(codeOf((await udp(query('web'), '127.0.0.9')).packet), 'REFUSED');
  t.is(codeOf((await udp(query('web').subarray(0, 15))).packet), 'FORMERR');
});

test('without name servers other names fail at once', async (t) => {
  const alone = new DnsForwarder({ clock: systemClock, servers: [], own: [] });
  const answer = await alone.ask(query('example.com'), 'udp');
  t.is(codeOf(decode(Buffer.from(answer ?? []))), 'SERVFAIL');
});
