// What the leader spends on services that follow their load: node test/bench/autoscale-round.ts [SERVICES [TASKS [ROUNDS]]].
// Each second of a virtual clock every task sends a sample and every service is decided about. Printed are milliseconds of
// CPU of this process, for taking the samples (decoding them included), for a round of decisions, and for writing what
// it changes. Prints, asserts nothing.

import { decide } from '../../manager/autoscaler/decide.ts';
import { AutoscaleLoop } from '../../manager/autoscaler/loop.ts';
import { cutUnits } from '../../manager/loop.ts';
import type { TaskSample } from '../../shared/gen/shoal/v1/autoscale.ts';
import { TaskState } from '../../shared/gen/shoal/v1/objects.ts';
import { type NodeSamples, SampleBatch } from '../../shared/gen/shoal/v1/peer.ts';
import { silentLog } from '../../shared/log.ts';
import { serviceFixture, taskOf, taskSpecFixture } from '../support/objects.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { storeFixture } from '../support/store.ts';

const [services = 1_000, replicas = 10, rounds = 60] = process.argv.slice(2).map(Number);
const NODES = 100;
const SAMPLES_IN_BATCH = 5_000;

const objects = Array.from({ length: services }, () =>
  serviceFixture({
    spec: {
      mode: { $case: 'replicated', value: { replicas } },
      task: taskSpecFixture({ resources: { reservations: { nanoCpus: 500_000_000 } } }),
      autoscale: {
        max: replicas * 3,
        metrics: [
          { kind: { $case: 'cpu', value: { utilization: 0.7 } } },
          { kind: { $case: 'requests', value: { perReplica: 100 } } },
        ],
      },
    },
  }),
);
const tasks = objects.flatMap((service, i) =>
  Array.from({ length: replicas }, (_, slot) =>
    taskOf(service, {
      slot: slot + 1,
      nodeId: `node${(i * replicas + slot) % NODES}`,
      status: { state: TaskState.RUNNING, healthy: true, atMs: 1 },
    }),
  ),
);
const fixture = await storeFixture({ service: objects, task: tasks });
const { store, writer, clock } = fixture;
const random = new SeededRandom(5);
const outside = { follow: () => undefined, latest: () => undefined, close: async () => undefined };
const loop = new AutoscaleLoop({ ...fixture, decide, outside, log: silentLog });
store.onCommit((batch) => loop.onCommit(batch));
loop.start(() => undefined);

/** As they come from other managers: encoded, with noise of `spread` around the target. */
function batches(spread: number): Uint8Array[] {
  const byNode = new Map<string, TaskSample[]>();
  for (const { id, serviceId, nodeId } of tasks) {
    const list = byNode.get(nodeId) ?? [];
    byNode.set(nodeId, list);
    const noise = 1 + spread * (2 * random.next() - 1);
    list.push({
      taskId: id,
      serviceId,
      windowMs: 1_000,
      cpuCores: 0.35 * noise,
      memoryBytes: 64 << 20,
      networkBytes: 10_000,
      pids: 5,
      requests: 100 * noise,
      connections: 10,
    });
  }
  const nodes = [...byNode].map(
    ([nodeId, samples]): NodeSamples => ({ nodeId, ageMs: 200, samples: { samples, knocks: [] } }),
  );
  const perBatch = Math.max(1, Math.floor((SAMPLES_IN_BATCH * nodes.length) / tasks.length));
  return Array.from({ length: Math.ceil(nodes.length / perBatch) }, (_, i) =>
    SampleBatch.encode({ nodes: nodes.slice(i * perBatch, (i + 1) * perBatch) }).finish(),
  );
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

type Figures = { report: number[]; decide: number[]; write: number[]; units: number };

async function second(spread: number, into: Figures): Promise<void> {
  const messages = batches(spread);
  let beganMs = cpuMs();
  for (const message of messages) loop.report(SampleBatch.decode(message));
  into.report.push(cpuMs() - beganMs);
  let decideMs = 0;
  let writeMs = 0;
  for (;;) {
    beganMs = cpuMs();
    const round = loop.decide();
    const decidedMs = cpuMs();
    decideMs += decidedMs - beganMs;
    for (const actions of cutUnits(round.units)) await writer.write(actions);
    writeMs += cpuMs() - decidedMs;
    into.units += round.units.length;
    if (round.wakeInMs !== 0) break;
  }
  into.decide.push(decideMs);
  into.write.push(writeMs);
  await clock.advance(1_000);
}

function figures(values: number[]): string {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
  return `median ${at(0.5).toFixed(1)}, 95 % ${at(0.95).toFixed(1)}, most ${at(1).toFixed(1)} ms`;
}

console.log(`${services} services of ${replicas} tasks, 2 metrics, ${rounds} rounds`);
for (const [title, spread] of [
  ['warm-up', 0.05],
  ['steady load', 0.05],
  ['load that doubles for all at once', -1],
] as const) {
  const into: Figures = { report: [], decide: [], write: [], units: 0 };
  for (let round = 0; round < (spread < 0 ? 5 : rounds); round++) {
    await second(spread < 0 ? 3 : spread, into);
  }
  console.log(`${title}: ${into.units} services written`);
  console.log(`  take samples: ${figures(into.report)}`);
  console.log(`  decide:       ${figures(into.decide)}`);
  console.log(`  write:        ${figures(into.write)}`);
}
console.log(`heap ${Math.round(process.memoryUsage().heapUsed / 2 ** 20)} MiB`);
