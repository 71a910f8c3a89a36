import test from 'ava';
import fc from 'fast-check';
import { type ClusterView, type Group, groupKey, plan } from '../../../manager/scheduler/plan.ts';
import { claimOf, MutableUsage } from '../../../manager/scheduler/usage.ts';
import {
  type Node,
  NodeAvailability,
  NodeState,
  type Task,
} from '../../../shared/gen/shoal/v1/objects.ts';
import { nodeFixture, serviceFixture, taskOf, taskSpecFixture } from '../../support/objects.ts';

const GIB = 1024 ** 3;

/** A cluster as the scheduler sees it; `running` tasks are on the node that they name. */
function cluster(
  nodes: readonly Node[],
  running: readonly Task[] = [],
  failures: Readonly<Record<string, number>> = {},
): ClusterView {
  const usage = new Map(nodes.map((node) => [node.id, new MutableUsage()]));
  for (const task of running) usage.get(task.nodeId)?.add(claimOf(task));
  return {
    nodes: () => nodes,
    node: (id) => nodes.find((node) => node.id === id),
    usage: (id) => usage.get(id) ?? new MutableUsage(),
    failures: (id) => failures[id] ?? 0,
  };
}

const nodes = (count: number, fields: Parameters<typeof nodeFixture>[0] = {}) =>
  Array.from({ length: count }, (_, i) => nodeFixture({ ...fields, id: `n${i}` }));
const labelled = (id: string, labels: Record<string, string>) =>
  nodeFixture({ id, spec: { role: 0, availability: NodeAvailability.ACTIVE, labels } });

/** `count` tasks of one service. */
function group(
  count: number,
  task: Parameters<typeof taskSpecFixture>[0] = {},
  fields = {},
): Group {
  const service = serviceFixture({ spec: { task: taskSpecFixture(task) } });
  const tasks = Array.from({ length: count }, (_, i) =>
    taskOf(service, { slot: i + 1, ...fields }),
  );
  return { key: groupKey(tasks[0] as Task), serviceId: service.id, tasks };
}

function spread(decisions: ReturnType<typeof plan>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const decision of decisions) {
    if (decision.kind === 'assign') counts[decision.nodeId] = (counts[decision.nodeId] ?? 0) + 1;
  }
  return counts;
}

const waiting = (decisions: ReturnType<typeof plan>) =>
  decisions.flatMap((decision) => (decision.kind === 'wait' ? [decision] : []));

test('plan() spreads the tasks of a service evenly, fewest tasks in all first', (t) => {
  t.deepEqual(spread(plan(cluster(nodes(3)), [group(7)])), { n0: 3, n1: 2, n2: 2 });
  const other = taskOf(serviceFixture(), { nodeId: 'n0' });
  t.deepEqual(spread(plan(cluster(nodes(3), [other]), [group(2)])), { n1: 1, n2: 1 });
});

test('plan() counts what the service has already', (t) => {
  const more = group(3);
  const running = ['n0', 'n0', 'n1'].map((nodeId) => ({ ...(more.tasks[0] as Task), nodeId }));
  t.deepEqual(spread(plan(cluster(nodes(3), running), [more])), { n1: 1, n2: 2 });
});

test('plan() prefers the node with more room when all else is equal', (t) => {
  const small = nodeFixture({
    id: 'a',
    description: { resources: { nanoCpus: 1e9, memoryBytes: GIB } },
  });
  const large = nodeFixture({
    id: 'b',
    description: { resources: { nanoCpus: 1e9, memoryBytes: 2 * GIB } },
  });
  t.deepEqual(spread(plan(cluster([small, large]), [group(1)])), { b: 1 });
});

test('plan() makes a task wait when earlier tasks of the round took the room', (t) => {
  const decisions = plan(cluster(nodes(1)), [
    group(1, { resources: { reservations: { memoryBytes: 5 * GIB } } }),
    group(2, { resources: { reservations: { memoryBytes: 2 * GIB } } }),
  ]);
  t.deepEqual(
    decisions.map((decision) => decision.kind),
    ['assign', 'assign', 'wait'],
  );
  t.is(waiting(decisions)[0]?.err, 'no suitable node (insufficient resources on 1 node)');
  t.is(
    waiting(decisions)[0]?.message,
    'pending task scheduling: 1 node: insufficient memory (needs 2048 MiB)',
  );
});

test('plan() uses a node that fails the service only when there is no other', (t) => {
  const failing = cluster(nodes(2), [], { n0: 5 });
  t.deepEqual(spread(plan(failing, [group(3)])), { n1: 3 });
  t.deepEqual(spread(plan(cluster(nodes(2), [], { n0: 4 }), [group(2)])), { n0: 1, n1: 1 });
  t.deepEqual(spread(plan(cluster(nodes(2), [], { n0: 5, n1: 9 }), [group(2)])), { n0: 1, n1: 1 });
  const limited = group(3, { placement: { maxReplicasPerNode: 2 } });
  t.deepEqual(spread(plan(failing, [limited])), { n0: 1, n1: 2 });
});

const down = { status: { state: NodeState.DOWN, address: '' } };
const availability = (value: NodeAvailability) => ({
  spec: { role: 0 as const, availability: value },
});
const host = (number: number) => ({
  ports: [
    { name: '', protocol: 'tcp', targetPort: 80, publishedPort: number, publishMode: 'host' },
  ],
});

const refusals: [title: string, Node[], Group, string][] = [
  ['no nodes', [], group(1), 'no suitable node'],
  [
    'nodes that are down, paused and drained',
    [
      ...nodes(1, down),
      nodeFixture(availability(NodeAvailability.PAUSE)),
      nodeFixture(availability(NodeAvailability.DRAIN)),
    ],
    group(1),
    'no suitable node (3 nodes not available for new tasks)',
  ],
  [
    'one node that is down',
    nodes(1, down),
    group(1),
    'no suitable node (1 node not available for new tasks)',
  ],
  [
    'too much cpu',
    nodes(3),
    group(1, { resources: { reservations: { nanoCpus: 5e9 } } }),
    'no suitable node (insufficient resources on 3 nodes)',
  ],
  [
    'generic resources',
    nodes(2),
    group(1, {
      resources: {
        reservations: { generic: [{ kind: 'gpu', value: { $case: 'discrete', value: 1 } }] },
      },
    }),
    'no suitable node (insufficient resources on 2 nodes)',
  ],
  [
    'a constraint that no label meets',
    nodes(1),
    group(1, { placement: { constraints: ['node.labels.zone==b'] } }),
    'no suitable node (scheduling constraints not satisfied on 1 node)',
  ],
  [
    'a constraint nobody can read',
    nodes(1),
    group(1, { placement: { constraints: ['nonsense'] } }),
    'no suitable node (scheduling constraints not satisfied on 1 node)',
  ],
  [
    'another platform',
    nodes(1),
    group(1, { placement: { platforms: [{ architecture: 'arm64', os: 'linux' }] } }),
    'no suitable node (unsupported platform on 1 node)',
  ],
  [
    'a plugin that is not there',
    nodes(1),
    { ...group(1), plugins: ['Volume/nfs'] },
    'no suitable node (missing plugin on 1 node)',
  ],
  [
    'several reasons, most nodes first',
    [...nodes(2), nodeFixture(down)],
    group(1, { placement: { constraints: ['node.labels.zone==b'] } }),
    'no suitable node (scheduling constraints not satisfied on 2 nodes; 1 node not available for new tasks)',
  ],
];
for (const [title, list, tasks, err] of refusals) {
  test(`plan() explains in Swarm's words: ${title}`, (t) => {
    t.deepEqual(
      waiting(plan(cluster(list), [tasks])).map((decision) => decision.err),
      [err],
    );
  });
}

test('plan() gives a host-mode port to one task per node', (t) => {
  const decisions = plan(cluster(nodes(2)), [group(3, {}, host(8080))]);
  t.deepEqual(spread(decisions), { n0: 1, n1: 1 });
  t.is(waiting(decisions)[0]?.err, 'no suitable node (host-mode port already in use on 2 nodes)');
  t.is(waiting(decisions)[0]?.message, 'pending task scheduling: 2 nodes: port tcp/8080 in use');
  t.deepEqual(spread(plan(cluster(nodes(1)), [group(3, {}, host(0))])), { n0: 3 });
});

test('plan() keeps to the limit of replicas per node', (t) => {
  const decisions = plan(cluster(nodes(2)), [group(5, { placement: { maxReplicasPerNode: 2 } })]);
  t.deepEqual(spread(decisions), { n0: 2, n1: 2 });
  t.is(waiting(decisions)[0]?.err, 'no suitable node (max replicas per node limit exceed)');
});

test('plan() takes x86_64 for amd64, and no platform for any', (t) => {
  const on = (architecture: string, os: string) =>
    plan(cluster(nodes(1)), [group(1, { placement: { platforms: [{ architecture, os }] } })]);
  for (const [architecture, os] of [
    ['amd64', 'linux'],
    ['x86_64', ''],
    ['', 'linux'],
    ['', ''],
  ] as const) {
    t.deepEqual(spread(on(architecture, os)), { n0: 1 });
  }
});

test('plan() does not ask nodes for plugins of a type that they say nothing about', (t) => {
  t.deepEqual(
    spread(plan(cluster(nodes(1)), [{ ...group(1), plugins: ['Network/overlay', 'Authz/x'] }])),
    { n0: 1 },
  );
});

test('plan() assigns a bound task to its node, or says why not', (t) => {
  const list = [...nodes(2), nodeFixture({ id: 'gone', ...down })];
  const bound = (nodeId: string) => ({ ...group(1), nodeId });
  t.deepEqual(spread(plan(cluster(list), [bound('n1')])), { n1: 1 });
  t.deepEqual(
    [bound('gone'), bound('unknown')].map((one) => waiting(plan(cluster(list), [one]))[0]?.err),
    ['no suitable node (1 node not available for new tasks)', 'no suitable node'],
  );
});

test('plan() levels tasks over the values of a label, then over those of the next', (t) => {
  const list = [
    labelled('a1', { zone: 'a', rack: '1' }),
    labelled('a2', { zone: 'a', rack: '1' }),
    labelled('a3', { zone: 'a', rack: '2' }),
    labelled('b1', { zone: 'b' }),
  ];
  const spreadOver = ['node.labels.zone', 'node.labels.rack'];
  const counts = spread(plan(cluster(list), [group(8, { placement: { spreadOver } })]));
  t.deepEqual(counts, { a1: 1, a2: 1, a3: 2, b1: 4 });
});

test('plan() goes on with the other branches when one is full, and counts what runs on full nodes', (t) => {
  const list = [
    labelled('a', { zone: 'a' }),
    labelled('b', { zone: 'b' }),
    labelled('c', { zone: 'b' }),
  ];
  const placement = { spreadOver: ['node.labels.zone'], maxReplicasPerNode: 3 };
  const tasks = group(7, { placement });
  t.deepEqual(spread(plan(cluster(list), [tasks])), { a: 3, b: 2, c: 2 });
  const full = [1, 2, 3].map(() => ({ ...(tasks.tasks[0] as Task), nodeId: 'b' }));
  const two = { ...tasks, tasks: tasks.tasks.slice(0, 2) };
  t.deepEqual(spread(plan(cluster(list, full), [two])), { a: 2 });
});

// ---- properties -----------------------------------------------------------------------------

const anyNode = fc.record({
  memoryGib: fc.integer({ min: 1, max: 8 }),
  zone: fc.constantFrom('', 'a', 'b', 'c'),
  ready: fc.boolean(),
  failing: fc.boolean(),
});
const anyService = fc.record({
  replicas: fc.integer({ min: 0, max: 20 }),
  memoryGib: fc.integer({ min: 0, max: 3 }),
  maxReplicasPerNode: fc.integer({ min: 0, max: 3 }),
  hostPort: fc.boolean(),
  spreadOver: fc.subarray(['node.labels.zone', 'node.labels.none', 'nonsense']),
});

test('plan() decides every task once, breaks no limit, and leaves none waiting that would fit', (t) => {
  fc.assert(
    fc.property(
      fc.array(anyNode, { maxLength: 8 }),
      fc.array(anyService, { maxLength: 5 }),
      (shapes, services) => {
        const list = shapes.map((shape, i) =>
          nodeFixture({
            id: `n${i}`,
            spec: {
              role: 0,
              availability: NodeAvailability.ACTIVE,
              labels: shape.zone ? { zone: shape.zone } : {},
            },
            status: { state: shape.ready ? NodeState.READY : NodeState.DOWN, address: '' },
            description: { resources: { nanoCpus: 4e9, memoryBytes: shape.memoryGib * GIB } },
          }),
        );
        const failures = Object.fromEntries(
          shapes.map((shape, i) => [`n${i}`, shape.failing ? 5 : 0]),
        );
        const groups = services.flatMap((service) =>
          service.replicas === 0
            ? []
            : [
                group(
                  service.replicas,
                  {
                    resources: { reservations: { memoryBytes: service.memoryGib * GIB } },
                    placement: {
                      maxReplicasPerNode: service.maxReplicasPerNode,
                      spreadOver: service.spreadOver,
                    },
                  },
                  service.hostPort ? host(9000) : {},
                ),
              ],
        );
        const decisions = plan(cluster(list, [], failures), groups);
        const tasks = groups.flatMap(({ tasks: mine }) => mine.map(({ id }) => id));
        if (
          decisions
            .map(({ task }) => task.id)
            .sort()
            .join() !== tasks.sort().join()
        )
          return false;
        const usage = new Map(list.map((node) => [node.id, new MutableUsage()]));
        for (const decision of decisions) {
          if (decision.kind === 'assign') usage.get(decision.nodeId)?.add(claimOf(decision.task));
        }
        for (const node of list) {
          const used = usage.get(node.id) as MutableUsage;
          if (node.status?.state !== NodeState.READY && used.tasks > 0) return false;
          if (used.reservedMemoryBytes > (node.description?.resources?.memoryBytes ?? 0))
            return false;
          if ([...used.hostPorts.values()].some((count) => count > 1)) return false;
          for (const { task } of decisions) {
            const max = task.spec?.placement?.maxReplicasPerNode || Number.POSITIVE_INFINITY;
            if ((used.tasksOfService.get(task.serviceId) ?? 0) > max) return false;
          }
        }
        return decisions.every((decision) => {
          if (decision.kind === 'assign') return true;
          const { task } = decision;
          return list.every((node) => {
            const used = usage.get(node.id) as MutableUsage;
            const max = task.spec?.placement?.maxReplicasPerNode || Number.POSITIVE_INFINITY;
            const needs = task.spec?.resources?.reservations?.memoryBytes ?? 0;
            const has = node.description?.resources?.memoryBytes ?? 0;
            return (
              node.status?.state !== NodeState.READY ||
              (used.tasksOfService.get(task.serviceId) ?? 0) >= max ||
              used.reservedMemoryBytes + needs > has ||
              (task.ports.length > 0 && used.hostPorts.size > 0)
            );
          });
        });
      },
    ),
    { numRuns: 300 },
  );
  t.pass();
});

test('plan() leaves no two nodes further apart than one task of a service without limits', (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 12 }),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 4 }),
      (nodeCount, sizes) => {
        const groups = sizes.map((size) => group(size));
        const decisions = plan(cluster(nodes(nodeCount)), groups);
        return groups.every(({ serviceId }) => {
          const mine = decisions.filter(({ task }) => task.serviceId === serviceId);
          const counts = Object.values(spread(mine));
          const fewest = counts.length < nodeCount ? 0 : Math.min(...counts);
          return Math.max(...counts) - fewest <= 1;
        });
      },
    ),
  );
  t.pass();
});

test('plan() depends on neither the order of nodes nor earlier calls', (t) => {
  const list = nodes(6);
  const tasks = [group(9), group(4)];
  const first = plan(cluster(list), tasks);
  t.deepEqual(plan(cluster([...list].reverse()), tasks), first);
  t.is(first.filter((decision) => decision.kind === 'assign').length, 13);
});
