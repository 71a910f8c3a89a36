import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import { diff } from '../../../agent/network/diff.ts';
import { planHost, planNetwork } from '../../../agent/network/plan.ts';
import { tableTransactions } from '../../../agent/network/render.ts';
import { EMPTY_NAMESPACE, type NamespaceState } from '../../../agent/network/state.ts';
import { hostTable, networkTable } from '../../../agent/network/tables.ts';
import { sliceView } from '../../../agent/network/view.ts';
import { ModelNamespace } from './support/model-kernel.ts';
import { decodeView, type PlainView } from './support/views.ts';

const SETTINGS = {
  nodeId: 'node1',
  hostAddress: '192.0.2.1',
  dataPathPort: 4789,
  dnsPort: 5399,
  mtu: 1450,
};
const INGRESS = 'netingress';
const HOST_SHAPE = hostTable(SETTINGS);
const INGRESS_SHAPE = networkTable({ internal: false, ingress: true, dnsPort: 5399 });

/** Views of one ingress network with up to six services, on up to four hosts, and some tasks wired here. */
const worlds = fc
  .record({
    services: fc.array(
      fc.record({
        tasks: fc.array(fc.record({ node: fc.integer({ min: 1, max: 4 }), ready: fc.boolean() }), {
          maxLength: 12,
        }),
        udp: fc.boolean(),
        hold: fc.boolean(),
      }),
      { maxLength: 6 },
    ),
    hosts: fc.integer({ min: 1, max: 4 }),
    wired: fc.integer({ min: 0, max: 20 }),
    mtu: fc.constantFrom(1400, 1450),
  })
  .map(({ services, hosts, wired, mtu }) => {
    let last = 10;
    const plain: PlainView = {
      revision: 1,
      networks: [
        { id: INGRESS, name: 'ingress', vni: 4096, subnet: '10.80.0.0/16', ingress: true },
      ],
      hosts: Array.from({ length: hosts }, (_, i) => ({
        id: `node${i + 1}`,
        address: `192.0.2.${i + 1}`,
      })),
      services: services.map(({ tasks, udp, hold }, s) => ({
        hold,
        id: `svc${s}`,
        name: `svc${s}`,
        network: INGRESS,
        vip: `10.80.1.${s}`,
        ports: [[8000 + s, 80, udp ? 'udp' : 'tcp']],
        tasks: tasks.map(({ node, ready }) => {
          last += 1;
          return { id: `task${last}`, node: `node${node}`, address: `10.80.2.${last}`, ready };
        }),
      })),
    };
    const view = decodeView(plain, 'node1');
    const settings = { ...SETTINGS, mtu };
    const slice = sliceView(view).get(INGRESS);
    if (slice === undefined) throw new Error('no slice');
    const locals = plain.services
      .flatMap((service) => service.tasks)
      .filter(({ node }) => node === 'node1')
      .slice(0, wired)
      .map(({ id, address }, i) => ({
        taskId: id,
        address,
        link: `c${id}`,
        counted: (i + wired) % 2 === 0,
      }));
    return {
      network: planNetwork(settings, { slice, hosts: view.hosts, locals }),
      host: planHost(settings, {
        networks: [slice.network],
        hosts: view.hosts,
        ingress: slice,
        egressLinks: locals.map(({ taskId, counted }, i) => ({
          taskId,
          address: `172.26.0.${i + 2}`,
          counted,
        })),
        egressPool: '172.26.0.0/16',
        hostPorts: locals.map(({ address }, i) => ({
          protocol: 'tcp',
          published: 9000 + i,
          address,
          target: 80,
        })),
      }),
    };
  });

/** What the kernel holds after the changes from `actual` to `desired` were carried out in it. */
function carriedOut(
  actual: NamespaceState,
  desired: NamespaceState,
  shape: typeof HOST_SHAPE,
): NamespaceState {
  const changes = diff(actual, desired, 'vx');
  const model = ModelNamespace.from(actual);
  for (const [name, link] of changes.makeLinks) {
    if (model.links.has(name)) model.dropLink(name);
    model.links.set(name, { ...link, up: false });
  }
  for (const line of changes.before) model.ip(line);
  for (const line of changes.forwarding) model.bridge(line);
  if (desired.table === undefined) throw new Error('a plan has a table');
  for (const text of tableTransactions(shape, desired.table, changes.table, 7)) model.nft(text);
  for (const line of changes.after) model.ip(line);
  return model.state();
}

/** Links of containers that are gone are down only: they go with their namespaces. Empty sets are none. */
function normal(state: NamespaceState, wanted: NamespaceState): unknown {
  const { table } = state;
  return {
    links: sorted([...state.links].filter(([name, { up }]) => up || wanted.links.has(name))),
    addresses: [...state.addresses].sort(),
    routes: sorted(state.routes),
    neighbours: sorted(state.neighbours),
    forwarding: sorted(state.forwarding),
    rules: [...state.rules].sort(),
    fingerprint: table?.fingerprint,
    sets: sorted([...(table?.sets ?? [])].map(([name, set]) => [name, sorted(set)])).filter(
      ([, set]) => set.length > 0,
    ),
    slots: sorted(table?.slots ?? []),
  };
}

function sorted<T>(entries: Iterable<readonly [string, T]>): (readonly [string, T])[] {
  return [...entries].sort(([a], [b]) => (a < b ? -1 : 1));
}

for (const [kind, shape] of [
  ['network', INGRESS_SHAPE],
  ['host', HOST_SHAPE],
] as const) {
  test(`diff() of two plans of a ${kind}, carried out on the first, gives the second`, (t) => {
    fc.assert(
      fc.property(worlds, worlds, ({ [kind]: a }, { [kind]: b }) => {
        assert.deepEqual(normal(carriedOut(a, b, shape), b), normal(b, b));
      }),
    );
    t.pass();
  });

  test(`diff() of nothing and a plan of a ${kind} builds all of it`, (t) => {
    fc.assert(
      fc.property(worlds, ({ [kind]: plan }) => {
        assert.deepEqual(
          normal(carriedOut(EMPTY_NAMESPACE, plan, shape), plan),
          normal(plan, plan),
        );
      }),
    );
    t.pass();
  });

  test(`diff() of a plan of a ${kind} with itself is nothing`, (t) => {
    fc.assert(
      fc.property(worlds, ({ [kind]: plan }) => {
        const changes = diff(ModelNamespace.from(plan).state(), plan, 'vx');
        assert.deepEqual(
          [
            changes.makeLinks.size,
            changes.before,
            changes.forwarding,
            changes.table,
            changes.after,
          ],
          [0, [], [], { kind: 'none' }, []],
        );
      }),
    );
    t.pass();
  });
}

const base = (): PlainView => ({
  revision: 1,
  networks: [{ id: INGRESS, name: 'ingress', vni: 4096, subnet: '10.80.0.0/16', ingress: true }],
  hosts: [1, 2].map((i) => ({ id: `node${i}`, address: `192.0.2.${i}` })),
  services: [
    {
      id: 'web',
      name: 'web',
      network: INGRESS,
      vip: '10.80.1.1',
      ports: [[53, 5353, 'udp']],
      tasks: [1, 2].map((i) => ({ id: `task${i}`, node: 'node2', address: `10.80.2.${i}` })),
    },
  ],
});
const plans = (plain: PlainView) => {
  const view = decodeView(plain, 'node1');
  const slice = sliceView(view).get(INGRESS);
  if (slice === undefined) throw new Error('no slice');
  const common = { hosts: view.hosts, egressLinks: [], egressPool: '172.26.0.0/16', hostPorts: [] };
  return {
    network: planNetwork(SETTINGS, { slice, hosts: view.hosts, locals: [] }),
    host: planHost(SETTINGS, { ...common, networks: [slice.network], ingress: slice }),
  };
};

test('diff() cuts the UDP flows of a back-end that left, on the VIP and on the published port', (t) => {
  const before = plans(base());
  const less = base();
  for (const service of less.services) service.tasks = service.tasks.slice(1);
  const after = plans(less);
  t.deepEqual(diff(before.network, after.network, 'vx').cut, [
    { key: '10.80.1.1', backend: '10.80.2.1' },
  ]);
  t.deepEqual(diff(before.host, after.host, 'vx').cut, [
    { key: 'udp . 53', backend: '10.80.2.1 . 5353' },
  ]);
});

test('diff() cuts what the host itself had answered when a UDP port gets its first back-end', (t) => {
  const none = base();
  for (const service of none.services) service.tasks = [];
  t.deepEqual(diff(plans(none).host, plans(base()).host, 'vx').cut, [
    { key: 'udp . 53', backend: '' },
  ]);
  t.deepEqual(diff(plans(none).network, plans(base()).network, 'vx').cut, []);
});

test('diff() makes routes before the maps that lead to them, and removes them after', (t) => {
  const before = plans(base());
  const moved = base();
  for (const service of moved.services) {
    service.tasks = [{ id: 'task9', node: 'node2', address: '10.80.2.9' }];
  }
  const changes = diff(before.network, plans(moved).network, 'vx');
  t.deepEqual(changes.before, ['route replace 10.80.2.9 via 192.0.2.2 dev vx onlink']);
  t.deepEqual(changes.after, [
    'route del 10.80.2.1 via 192.0.2.2 dev vx onlink',
    'route del 10.80.2.2 via 192.0.2.2 dev vx onlink',
  ]);
  t.is(changes.table.kind, 'update');
});

test('diff() makes a VXLAN device anew when the underlay address changed, and what hung on it', (t) => {
  const { network } = plans(base());
  const links = new Map(network.links);
  const vx = links.get('vx');
  links.set('vx', {
    kind: 'vxlan',
    up: true,
    ...vx,
    vxlan: { vni: 4096, port: 4789, local: '192.0.2.9' },
  });
  const changes = diff({ ...network, links }, network, 'vx');
  t.deepEqual([...changes.makeLinks.keys()], ['vx']);
  t.true(changes.before.includes('route replace 10.80.2.1 via 192.0.2.2 dev vx onlink'));
  t.deepEqual(changes.forwarding, [
    'fdb replace 02:44:c0:00:02:02 dev vx dst 192.0.2.2 self permanent',
  ]);
});

test('diff() replaces the whole table when its chains are not ours', (t) => {
  const { network } = plans(base());
  const table = network.table === undefined ? undefined : { ...network.table, fingerprint: 1 };
  t.deepEqual(diff({ ...network, table }, network, 'vx').table, { kind: 'replace' });
  t.deepEqual(diff({ ...network, table: undefined }, network, 'vx').table, { kind: 'replace' });
});
