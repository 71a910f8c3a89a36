import test from 'ava';
import { nodeRows, serviceRows, taskRows } from '../../cli/rows.ts';
import { type ServiceFlags, scalePair, serviceSpec } from '../../cli/service-spec.ts';
import { ageText, table } from '../../cli/table.ts';

const FLAGS: ServiceFlags = {
  name: 'web',
  replicas: '2',
  mode: undefined,
  network: ['net'],
  publish: ['8080:80', '53/udp'],
  env: ['A=b=c'],
  label: ['x=y=z'],
  constraint: [],
  limitMemory: '64m',
  limitCpu: '0.5',
};

test('table() pads columns and ends no line with blanks', (t) => {
  t.is(
    table(
      ['ID', 'NAME'],
      [
        ['1', 'web'],
        ['200', ''],
      ],
    ),
    'ID   NAME\n1    web\n200\n',
  );
});

test('ageText() gives the largest whole unit', (t) => {
  t.deepEqual([999, 1_000, 59_999, 60_000, 7_200_000, 90_000_000].map(ageText), [
    'less than a second',
    '1 second',
    '59 seconds',
    '1 minute',
    '2 hours',
    '1 day',
  ]);
});

test('serviceSpec() makes the body of a create', (t) => {
  t.like(serviceSpec('img', ['sh'], FLAGS), {
    Name: 'web',
    Labels: { x: 'y=z' },
    Mode: { Replicated: { Replicas: 2 } },
    EndpointSpec: {
      Ports: [
        { Protocol: 'tcp', TargetPort: 80, PublishedPort: 8080, PublishMode: 'ingress' },
        { Protocol: 'udp', TargetPort: 53, PublishMode: 'ingress' },
      ],
    },
    TaskTemplate: {
      ContainerSpec: { Image: 'img', Args: ['sh'], Env: ['A=b=c'] },
      Resources: { Limits: { MemoryBytes: 67_108_864, NanoCPUs: 5e8 } },
      Networks: [{ Target: 'net' }],
    },
  });
});

for (const [flag, value, message] of [
  ['publish', ['x:80'], /--publish/],
  ['limitMemory', 'much', /--limit-memory/],
  ['limitCpu', 'x', /--limit-cpu/],
  ['replicas', 'two', /--replicas/],
  ['mode', 'daemon', /--mode/],
] as const) {
  test(`serviceSpec() names the flag that is wrong: ${flag}`, (t) => {
    t.throws(() => serviceSpec('img', [], { ...FLAGS, [flag]: value }), { message });
  });
}

test('scalePair() reads SERVICE=N and refuses the rest', (t) => {
  t.deepEqual(scalePair('web=5'), { service: 'web', replicas: 5 });
  for (const text of ['web', 'web=', 'web=-1', '=3'])
    t.throws(() => scalePair(text), { message: /SERVICE=REPLICAS/ });
});

test('rows show the leader, the replicas, and a slot with its history', (t) => {
  const node = (id: string, hostname: string, leader: boolean) => ({
    ID: id,
    Spec: { Role: 'manager', Availability: 'active' },
    Description: { Hostname: hostname, Engine: { EngineVersion: '1' } },
    Status: { State: 'ready', Addr: '10.0.0.1' },
    ManagerStatus: { Leader: leader, Reachability: 'reachable' },
  });
  const nodes = [node('b', 'h2', true), node('a', 'h1', false)];
  t.deepEqual(
    nodeRows(nodes, 'a').rows.map((row) => [row[0], row[1], row[5]]),
    [
      ['a *', 'h1', 'Reachable'],
      ['b', 'h2', 'Leader'],
    ],
  );
  const spec = {
    Name: 'web',
    Mode: { Replicated: { Replicas: 3 } },
    TaskTemplate: { ContainerSpec: { Image: `web:1@sha256:${'a'.repeat(64)}` } },
  };
  t.deepEqual(
    serviceRows([
      {
        ID: 's',
        Version: { Index: 1 },
        Spec: spec,
        ServiceStatus: { RunningTasks: 1, DesiredTasks: 3 },
        Endpoint: { Ports: [{ Protocol: 'tcp', TargetPort: 80, PublishedPort: 8080 }] },
      },
    ]).rows,
    [['s', 'web', 'replicated', '1/3', 'web:1', '*:8080->80/tcp']],
  );
  const task = (id: string, slot: number, at: string) => ({
    ID: id,
    ServiceID: 's',
    Slot: slot,
    NodeID: 'a',
    Spec: spec.TaskTemplate,
    Status: { State: 'running', Timestamp: at },
    DesiredState: 'running',
  });
  const rows = taskRows(
    [task('old', 1, '2026-01-01T00:00:00Z'), task('new', 1, '2026-01-01T00:01:00Z')],
    nodes,
    'web',
    Date.parse('2026-01-01T00:02:00Z'),
  ).rows;
  t.deepEqual(
    rows.map((row) => [row[0], row[1], row[3], row[5]]),
    [
      ['new', 'web.1', 'h1', 'Running 1 minute ago'],
      ['old', ' \\_ web.1', 'h1', 'Running 2 minutes ago'],
    ],
  );
});
