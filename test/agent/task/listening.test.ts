import { createServer } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { listens } from '../../../agent/task/io/listening.ts';
import { hasListener, tcpPortsOf, untilListening } from '../../../agent/task/listening.ts';
import { ManualClock, settle } from '../../support/manual-clock.ts';
import { taskFixture } from '../../support/objects.ts';

const HEAD =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';
const line = (local: string, state: string) =>
  `   0: ${local} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 1 1 0000 100 0 0 10 0\n`;

// Ports: 0x0050 is 80.
const TABLES: readonly [what: string, table: string, found: boolean][] = [
  ['nothing', HEAD, false],
  ['a process that is gone', '', false],
  ['every address', HEAD + line('00000000:0050', '0A'), true],
  ['one address', HEAD + line('0B01500A:0050', '0A'), true],
  ['another port', HEAD + line('00000000:1F90', '0A'), false],
  ['a connection of that port', HEAD + line('0B01500A:0050', '01'), false],
  ['127.0.0.1 only', HEAD + line('0100007F:0050', '0A'), false],
  ['127.0.0.11 only', HEAD + line('0B00007F:0050', '0A'), false],
  ['127.0.0.1 and another', HEAD + line('0100007F:0050', '0A') + line('0B01500A:0050', '0A'), true],
  ['every IPv6 address', HEAD + line(`${'0'.repeat(32)}:0050`, '0A'), true],
  ['::1 only', HEAD + line(`${'0'.repeat(24)}01000000:0050`, '0A'), false],
  ['::ffff:127.0.0.1 only', HEAD + line(`${'0'.repeat(16)}FFFF00000100007F:0050`, '0A'), false],
  ['::ffff:10.80.1.11', HEAD + line(`${'0'.repeat(16)}FFFF00000B01500A:0050`, '0A'), true],
];

for (const [what, table, found] of TABLES) {
  test(`who can be reached on port 80: ${what}`, (t) => {
    t.is(hasListener(table, new Set([80, 443])), found);
  });
}

test('the TCP ports of a service count; in the network of the host none do', (t) => {
  const ports = [
    { protocol: 'tcp', targetPort: 80 },
    { protocol: 'udp', targetPort: 53 },
    { protocol: '', targetPort: 443 },
  ] as never;
  t.deepEqual([...tcpPortsOf(taskFixture({ ports }))], [80, 443]);
  const networks = [{ target: 'host' }] as never;
  t.deepEqual([...tcpPortsOf(taskFixture({ ports, spec: { networks } }))], []);
});

function waiting(t: ExecutionContext) {
  const clock = new ManualClock();
  const stop = new AbortController();
  const seen = { listens: false, looks: 0, slow: 0, over: '' };
  const look = async () => {
    seen.looks += 1;
    return seen.listens;
  };
  const slow = () => {
    seen.slow += 1;
  };
  void untilListening(look, { clock, signal: stop.signal, slow }).then(() => {
    seen.over = stop.signal.aborted ? 'stopped' : 'up';
  });
  t.teardown(() => stop.abort());
  return { clock, stop, seen };
}

test('a process that listens soon is seen at once, and nothing is told', async (t) => {
  const { clock, seen } = waiting(t);
  await clock.advance(50);
  t.is(seen.over, '');
  seen.listens = true;
  await clock.advance(100);
  t.deepEqual([seen.over, seen.slow], ['up', 0]);
});

test('what takes long is told once, looked at four times a second, and ends', async (t) => {
  const { clock, seen } = waiting(t);
  for (let second = 0; second < 29; second++) await clock.advance(1_000);
  t.deepEqual([seen.over, seen.slow], ['', 1]);
  t.true(seen.looks > 100 && seen.looks < 130, String(seen.looks));
  await clock.advance(2_000);
  t.is(seen.over, 'up');
});

test('the wait ends with its signal', async (t) => {
  const { clock, seen, stop } = waiting(t);
  await clock.advance(20);
  stop.abort();
  await settle();
  t.is(seen.over, 'stopped');
});

test('of a real process', async (t) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
  t.teardown(() => server.close());
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  t.true(await listens(process.pid, new Set([port])));
  t.false(await listens(process.pid, new Set([1])));
  t.false(await listens(0x7fffffff, new Set([port])));
});
