import test, { type ExecutionContext } from 'ava';
import { SampleRelay } from '../../../manager/dispatcher/sample-relay.ts';
import { ShoalError } from '../../../shared/errors.ts';
import type { TaskSample } from '../../../shared/gen/shoal/v1/autoscale.ts';
import type { SampleBatch } from '../../../shared/gen/shoal/v1/peer.ts';
import { silentLog } from '../../../shared/log.ts';
import { ManualClock, settle } from '../../support/manual-clock.ts';

function sampleOf(taskId: string, cpuCores: number): TaskSample {
  return { taskId, serviceId: 'web', windowMs: 1_000, cpuCores };
}

async function relayOf(t: Pick<ExecutionContext, 'teardown'>) {
  const clock = new ManualClock();
  const sent: { atMs: number; batch: SampleBatch }[] = [];
  const leader = { error: undefined as Error | undefined };
  const relay = new SampleRelay({
    send: async (batch) => {
      if (leader.error !== undefined) throw leader.error;
      sent.push({ atMs: clock.monotonicMs(), batch });
    },
    clock,
    log: silentLog,
  });
  const stop = new AbortController();
  const running = relay.run(stop.signal);
  t.teardown(async () => {
    stop.abort();
    await running;
  });
  await settle();
  const samples = (...cores: number[]) => ({
    samples: cores.map((c, i) => sampleOf(`t${i}`, c)),
    knocks: [],
  });
  const knock = (serviceId: string, connections: number) => ({
    samples: [],
    knocks: [{ serviceId, connections }],
  });
  return { clock, sent, leader, relay, samples, knock };
}

test('samples of all nodes go together, at most twice a second', async (t) => {
  const { clock, sent, relay, samples } = await relayOf(t);
  for (let at = 0; at < 3_000; at += 100) {
    relay.add(`n${(at / 100) % 10}`, samples(0.5));
    await clock.advance(100);
  }
  t.true(sent.length >= 6 && sent.length <= 7, String(sent.length));
  const gaps = sent.slice(1).map(({ atMs }, i) => atMs - (sent[i]?.atMs ?? 0));
  t.true(Math.min(...gaps) >= 500);
  await clock.advance(500);
  t.is(sent.flatMap(({ batch }) => batch.nodes).length, 30);
});

test('a sample says how long it has been waiting', async (t) => {
  const { clock, sent, relay, samples } = await relayOf(t);
  relay.add('n1', samples(0.1));
  await clock.advance(10);
  relay.add('n1', samples(0.2));
  await clock.advance(1_000);
  t.deepEqual(
    sent.map(({ batch }) => batch.nodes.map(({ ageMs }) => ageMs)),
    [[5], [495]],
  );
});

test('a knock goes at once, with those that come with it', async (t) => {
  const { clock, sent, relay, samples, knock } = await relayOf(t);
  relay.add('n1', samples(0.1));
  await clock.advance(10);
  relay.add('n1', samples(0.2));
  await clock.advance(50);
  relay.add('n1', knock('web', 2));
  relay.add('n2', knock('web', 1));
  await clock.advance(6);
  t.is(sent.length, 2);
  t.deepEqual(
    sent[1]?.batch.nodes.map(({ nodeId, samples: told }) => [nodeId, told?.knocks]),
    [
      ['n1', []],
      ['n1', [{ serviceId: 'web', connections: 2 }]],
      ['n2', [{ serviceId: 'web', connections: 1 }]],
    ],
  );
});

test('while there is no leader the newest samples are kept, knocks are summed up, and old ones forgotten', async (t) => {
  const { clock, sent, relay, leader, samples, knock } = await relayOf(t);
  leader.error = new ShoalError('unavailable', 'no leader');
  for (let second = 0; second < 8; second++) {
    relay.add('n1', samples(second));
    if (second < 2) relay.add('n1', knock('web', 10));
    await clock.advance(1_000);
  }
  leader.error = undefined;
  await clock.advance(1_000);
  const [first] = sent;
  const messages = first?.batch.nodes ?? [];
  t.deepEqual(
    messages.flatMap(({ samples: told }) => told?.samples.map(({ cpuCores }) => cpuCores)),
    [4, 5, 6, 7],
  );
  t.deepEqual(messages.at(-1)?.samples?.knocks, [{ serviceId: 'web', connections: 20 }]);

  leader.error = new ShoalError('unavailable', 'no leader');
  relay.add('n1', samples(9));
  relay.add('n1', knock('web', 1));
  await clock.advance(20_000);
  leader.error = undefined;
  await clock.advance(2_000);
  t.is(sent.length, 1);
});

test('many samples go in several calls', async (t) => {
  const { clock, sent, relay } = await relayOf(t);
  for (let node = 0; node < 12; node++) {
    const all = Array.from({ length: 1_000 }, (_, i) => sampleOf(`t${node}/${i}`, 1));
    relay.add(`n${node}`, { samples: all, knocks: [] });
  }
  await clock.advance(100);
  t.deepEqual(
    sent.map(({ batch }) => batch.nodes.length),
    [5, 5, 2],
  );
});

test('a node that reports more than it can have is cut', async (t) => {
  const { clock, sent, relay } = await relayOf(t);
  const all = Array.from({ length: 10_000 }, (_, i) => sampleOf(`t${i}`, 1));
  const knocks = Array.from({ length: 10_000 }, (_, i) => ({ serviceId: `s${i}`, connections: 1 }));
  relay.add('n1', { samples: all, knocks });
  await clock.advance(100);
  const told = sent.flatMap(({ batch }) => batch.nodes);
  t.is(told.flatMap(({ samples }) => samples?.samples ?? []).length, 2_000);
  t.is(told.flatMap(({ samples }) => samples?.knocks ?? []).length, 1_000);
});

test('what a node claims of services without end is cut while the leader is away', async (t) => {
  const { clock, sent, relay, leader, knock } = await relayOf(t);
  leader.error = new ShoalError('unavailable', 'no leader');
  for (let i = 0; i < 5_000; i++) relay.add('n1', knock(`s${i}`, 1));
  await clock.advance(600);
  for (let i = 0; i < 5_000; i++) relay.add('n1', knock(`r${i}`, 1));
  leader.error = undefined;
  await clock.advance(2_000);
  const told = sent.flatMap(({ batch }) => batch.nodes);
  t.is(told.flatMap(({ samples }) => samples?.knocks ?? []).length, 1_000);
});

test('names that are no ids hold up nobody else: they are left out', async (t) => {
  const { clock, sent, relay, samples } = await relayOf(t);
  const long = 'x'.repeat(1_000_000);
  const broken = { ...sampleOf('t1', 1), serviceId: long };
  relay.add('n1', {
    samples: [sampleOf(long, 1), broken, sampleOf('t2', 1)],
    knocks: [{ serviceId: long, connections: 1 }],
  });
  relay.add('n2', samples(0.5));
  await clock.advance(1_000);
  const told = sent.flatMap(({ batch }) => batch.nodes);
  t.deepEqual(
    told.map(({ nodeId, samples: its }) => [nodeId, its?.samples.length, its?.knocks.length]),
    [
      ['n1', 1, 0],
      ['n2', 1, 0],
    ],
  );
});
