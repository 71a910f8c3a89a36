// How long placing takes: node test/bench/scheduler.ts. Prints, asserts nothing.
// To compare: SwarmKit's own figures of 2016 are 1.8 s for 10k tasks on 1k nodes, 22.6 s for 100k.

import { groupKey, plan } from '../../manager/scheduler/plan.ts';
import { claimOf, MutableUsage } from '../../manager/scheduler/usage.ts';
import type { Node, Task } from '../../shared/gen/shoal/v1/objects.ts';
import { nodeFixture, serviceFixture, taskOf, taskSpecFixture } from '../support/objects.ts';

type TaskSpecFields = Parameters<typeof taskSpecFixture>[0];

const plain: TaskSpecFields = {};
const limited: TaskSpecFields = {
  resources: { reservations: { nanoCpus: 1e6, memoryBytes: 1024 ** 2 } },
  placement: { constraints: ['node.labels.zone!=z9'], spreadOver: ['node.labels.zone'] },
};

function makeNodes(count: number): Node[] {
  return Array.from({ length: count }, (_, i) =>
    nodeFixture({
      id: `node${i}`,
      spec: { role: 0, availability: 0, labels: { zone: `z${i % 10}` } },
    }),
  );
}

function run(
  title: string,
  nodeCount: number,
  services: number,
  replicas: number,
  spec: TaskSpecFields,
) {
  const nodes = makeNodes(nodeCount);
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const usage = new Map(nodes.map((node) => [node.id, new MutableUsage()]));
  const task = taskSpecFixture(spec);
  const groups = Array.from({ length: services }, () => {
    const service = serviceFixture({ spec: { task } });
    const model = taskOf(service);
    const tasks: Task[] = Array.from({ length: replicas }, (_, i) => ({
      ...model,
      id: `${service.id}${i}`,
      slot: i + 1,
    }));
    return { key: groupKey(model), serviceId: service.id, tasks };
  });
  const startMs = performance.now();
  const decisions = plan(
    {
      nodes: () => nodes,
      node: (id) => byId.get(id),
      usage: (id) => usage.get(id) ?? new MutableUsage(),
      failures: () => 0,
    },
    groups,
  );
  const tookMs = performance.now() - startMs;
  for (const decision of decisions) {
    if (decision.kind === 'assign') usage.get(decision.nodeId)?.add(claimOf(decision.task));
  }
  const counts = [...usage.values()].map(({ tasks }) => tasks);
  const rate = Math.round((1000 * decisions.length) / tookMs);
  console.log(
    `${title.padEnd(52)} ${tookMs.toFixed(0).padStart(6)} ms ${String(rate).padStart(9)}/s  ` +
      `per node ${Math.min(...counts)} to ${Math.max(...counts)}`,
  );
}

run('warm-up', 100, 10, 100, limited);
run('1k tasks of 1 service, 1k nodes', 1000, 1, 1000, plain);
run('10k tasks of 1 service, 1k nodes', 1000, 1, 10_000, plain);
run('100k tasks of 1 service, 1k nodes', 1000, 1, 100_000, plain);
run('100k tasks of 1 service, 1k nodes, all filters, zones', 1000, 1, 100_000, limited);
run('100k tasks of 1k services, 1k nodes', 1000, 1000, 100, plain);
run('10k tasks of 10k services, 1k nodes', 1000, 10_000, 1, limited);
run('100k tasks of 1 service, 10k nodes', 10_000, 1, 100_000, plain);
