import test from 'ava';
import type { TaskTraffic } from '../../../agent/network/types.ts';
import { Sampler } from '../../../agent/signals/sampler.ts';
import type { MeasuredTask, ResourceReader, Resources } from '../../../agent/signals/types.ts';
import type { TaskSamples } from '../../../shared/gen/shoal/v1/autoscale.ts';
import { silentLog } from '../../../shared/log.ts';
import { ManualClock, settle } from '../../support/manual-clock.ts';

class FakeReader implements ResourceReader {
  readonly opened = new Set<string>();
  readonly values = new Map<string, Resources>();
  reads = 0;
  knows(id: string): boolean {
    return this.opened.has(id);
  }
  open(id: string): void {
    this.opened.add(id);
  }
  read(id: string): Resources | undefined {
    this.reads += 1;
    return this.values.get(id);
  }
  keepOnly(ids: ReadonlySet<string>): void {
    for (const id of this.opened) if (!ids.has(id)) this.opened.delete(id);
  }
}

function setUp() {
  const clock = new ManualClock();
  const reader = new FakeReader();
  const sent: TaskSamples[] = [];
  const counted: string[][] = [];
  const world = {
    measured: [] as MeasuredTask[],
    traffic: new Map<string, TaskTraffic>(),
    trafficReads: 0,
  };
  const sampler = new Sampler({
    measured: () => world.measured,
    reader,
    pidOf: async (id) => (id.startsWith('dead') ? undefined : 1),
    meter: {
      count: (ids) => counted.push([...ids].sort()),
      traffic: async () => {
        world.trafficReads += 1;
        return world.traffic;
      },
    },
    send: (samples) => sent.push(samples),
    clock,
    log: silentLog,
  });
  return { clock, reader, sent, counted, world, sampler };
}

const task = (id: string, what: Partial<MeasuredTask> = {}): MeasuredTask => ({
  taskId: id,
  serviceId: 'svc',
  containerId: `box-${id}`,
  resources: true,
  requests: false,
  ...what,
});

test('nothing is read, counted or timed when nothing is asked for', async (t) => {
  const { sampler, clock, reader, counted, world } = setUp();
  sampler.refresh();
  await clock.advance(10_000);
  t.is(clock.timers, 0);
  t.is(reader.reads, 0);
  t.is(world.trafficReads, 0);
  t.deepEqual(counted, []);
});

test('a sample of each task is sent once a second, from the second reading on', async (t) => {
  const { sampler, clock, reader, sent, world } = setUp();
  world.measured = [task('a'), task('b')];
  for (const id of ['a', 'b']) reader.values.set(`box-${id}`, { cpuNs: 0, pids: 2 });
  sampler.refresh();
  await settle();
  t.deepEqual(sent, []);
  reader.values.set('box-a', { cpuNs: 5e8, pids: 2 });
  await clock.advance(1_000);
  const fields = { serviceId: 'svc', windowMs: 1_000, pids: 2 };
  const [first] = sent;
  t.like(first?.samples[0], { taskId: 'a', cpuCores: 0.5, ...fields });
  t.like(first?.samples[1], { taskId: 'b', cpuCores: 0, ...fields });
  await clock.advance(3_000);
  t.is(sent.length, 4);
  await sampler.close();
});

test('one that is not asked for any more is forgotten; then the rounds end', async (t) => {
  const { sampler, clock, reader, counted, sent, world } = setUp();
  world.measured = [task('a', { requests: true }), task('b')];
  sampler.refresh();
  await clock.advance(1_000);
  t.deepEqual([...reader.opened], ['box-a', 'box-b']);
  t.deepEqual(counted, [['a']]);
  world.measured = [task('b')];
  await clock.advance(1_000);
  t.deepEqual([...reader.opened], ['box-b']);
  t.deepEqual(counted, [['a'], []]);
  world.measured = [];
  await clock.advance(1_000);
  t.deepEqual([...reader.opened], []);
  t.is(clock.timers, 0);
  const before = sent.length;
  // And begins again, with a first reading that is no sample.
  world.measured = [task('b')];
  reader.values.set('box-b', { cpuNs: 1, pids: 1 });
  sampler.refresh();
  await settle();
  t.is(sent.length, before);
  await clock.advance(1_000);
  t.is(sent.length, before + 1);
  await sampler.close();
});

test('a container that does not run, or is not made, has no sample and is no trouble', async (t) => {
  const { sampler, clock, sent, world } = setUp();
  world.measured = [task('a', { containerId: 'dead' }), task('b', { containerId: undefined })];
  sampler.refresh();
  await clock.advance(5_000);
  t.deepEqual(sent, []);
  await sampler.close();
});

test('requests are only told of tasks of which they are asked', async (t) => {
  const { sampler, clock, sent, world } = setUp();
  world.measured = [
    task('a', { resources: false, requests: true }),
    task('b', { resources: false, requests: false }),
  ];
  for (const total of [0, 7]) {
    const counts = { requests: total, replies: total, connections: total };
    world.traffic = new Map([
      ['a', counts],
      ['b', counts],
    ]);
    if (total === 0) sampler.refresh();
    else await clock.advance(1_000);
    await settle();
  }
  t.is(sent.length, 1);
  t.like(sent[0]?.samples, { length: 1, 0: { taskId: 'a', requests: 7, connections: 7 } });
  t.is(sent[0]?.samples[0]?.cpuCores, undefined);
  await sampler.close();
});

test('stopping leaves what is counted as it is', async (t) => {
  const { sampler, clock, counted, world } = setUp();
  world.measured = [task('a', { requests: true })];
  sampler.refresh();
  await clock.advance(100);
  await sampler.close();
  t.deepEqual(counted, [['a']]);
  t.is(clock.timers, 0);
  sampler.refresh();
  t.is(clock.timers, 0);
});

test('a failure of one round does not end the others', async (t) => {
  const { sampler, clock, reader, sent, world } = setUp();
  world.measured = [task('a')];
  reader.values.set('box-a', { pids: 1 });
  sampler.refresh();
  await clock.advance(1_000);
  const { read } = reader;
  reader.read = () => {
    throw new Error('refused by the test');
  };
  await clock.advance(1_000);
  reader.read = read;
  await clock.advance(1_000);
  t.is(sent.length, 2);
  await sampler.close();
});
