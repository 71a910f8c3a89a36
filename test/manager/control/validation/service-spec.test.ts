import test from 'ava';
import {
  checkServiceSpec,
  completeServiceSpec,
} from '../../../../manager/control/validation/service-spec.ts';
import { type ErrorCode, isShoalError } from '../../../../shared/errors.ts';
import { ServiceSpec } from '../../../../shared/gen/shoal/v1/objects.ts';
import type { MessageInitShape } from '../../../support/types.ts';

type Spec = MessageInitShape<typeof ServiceSpec>;
type Task = NonNullable<Spec['task']>;
type Container = NonNullable<Task['container']>;

const spec = (fields: Spec = {}) =>
  completeServiceSpec(
    ServiceSpec.fromPartial({ name: 'web', task: { container: { image: 'web:1' } }, ...fields }),
  );
const withTask = (task: Task) => spec({ task: { container: { image: 'web:1' }, ...task } });
const withContainer = (container: Container) =>
  spec({ task: { container: { image: 'web:1', ...container } } });
const withPorts = (...ports: NonNullable<NonNullable<Spec['endpoint']>['ports']>) =>
  spec({ endpoint: { ports } });
const withMount = (mount: NonNullable<Container['mounts']>[number]) =>
  withContainer({ mounts: [mount] });

const refused: [ServiceSpec, string, ErrorCode?][] = [
  [spec({ name: '' }), 'name must be provided'],
  [spec({ name: 'a b' }), 'name must be valid as a DNS name component'],
  [spec({ name: '-a' }), 'name must be valid as a DNS name component'],
  [spec({ name: 'a'.repeat(64) }), 'name must be 63 characters or fewer'],
  [spec({ labels: { ' ': 'x' } }), 'labels: a label needs a key before its value'],
  [
    spec({ labels: { 'shoal.drain-delay': '5' } }),
    'labels: shoal.drain-delay "5" is no duration up to an hour, like 10s',
  ],
  [
    spec({ mode: { $case: 'replicated', value: { replicas: -1 } } }),
    'Number of replicas must be non-negative',
  ],
  [
    spec({ mode: { $case: 'replicated', value: { replicas: 1_000_001 } } }),
    'Number of replicas must be at most 1000000, not 1000001',
  ],
  [
    spec({ mode: { $case: 'replicatedJob', value: {} } }),
    'mode replicated-job is not supported yet: use replicated or global',
    'unimplemented',
  ],
  [
    spec({ mode: { $case: 'globalJob', value: {} } }),
    'mode global-job is not supported yet: use replicated or global',
    'unimplemented',
  ],
  [
    withTask({ runtime: 'plugin' }),
    'TaskSpec: runtime "plugin" is not supported yet: use container',
    'unimplemented',
  ],
  [withContainer({ image: '' }), 'ContainerSpec: image reference must be provided'],
  [
    ServiceSpec.fromPartial({ name: 'web', mode: { $case: 'global', value: {} } }),
    'ContainerSpec: image reference must be provided',
  ],
  ...['Web', 'a b', 'web:', 'a//b', 'web@sha256:12', 'reg:port/x', '/web', ':tag', 'a@b@c'].map(
    (image): [ServiceSpec, string] => [
      withContainer({ image }),
      `ContainerSpec: "${image}" is not a valid repository/tag`,
    ],
  ),
  [withContainer({ env: ['=x'] }), 'ContainerSpec: env: invalid environment variable: "=x"'],
  [withContainer({ env: ['A=b\0c'] }), 'ContainerSpec: env: A has a NUL in it'],
  [withContainer({ args: ['\0'] }), 'ContainerSpec: args: an argument has a NUL in it'],
  [
    withContainer({ hostname: 'a b' }),
    'ContainerSpec: hostname "a b" is invalid: at most 64 of [a-zA-Z0-9_.-], first and last of [a-zA-Z0-9]',
  ],
  [
    withContainer({ dir: 'tmp' }),
    "the working directory 'tmp' is invalid, it needs to be an absolute path",
  ],
  [withContainer({ stopSignal: 'SIGNOT' }), 'ContainerSpec: stop-signal: unknown signal "SIGNOT"'],
  [withContainer({ stopSignal: '65' }), 'ContainerSpec: stop-signal: unknown signal "65"'],
  [withContainer({ stopGracePeriodNs: -1 }), 'ContainerSpec: stop-grace-period cannot be negative'],
  [
    withContainer({ healthcheck: { intervalNs: 999_999 } }),
    'ContainerSpec: Interval in HealthConfig cannot be less than 1ms',
  ],
  [
    withContainer({ healthcheck: { startPeriodNs: -5 } }),
    'ContainerSpec: StartPeriod in HealthConfig cannot be less than 1ms',
  ],
  [
    withContainer({ healthcheck: { retries: -1 } }),
    'ContainerSpec: Retries in HealthConfig cannot be negative',
  ],
  [
    withContainer({ healthcheck: { test: ['curl', 'x'] } }),
    'ContainerSpec: health check "curl" is unknown: Test begins with NONE, CMD or CMD-SHELL',
  ],
  [
    withContainer({ healthcheck: { test: ['CMD'] } }),
    'ContainerSpec: health check CMD has no command',
  ],
  [
    withContainer({ hosts: ['db 10.0.0.1'] }),
    'ContainerSpec: hosts: "db 10.0.0.1" is invalid: expected an IP address and names',
  ],
  [
    withContainer({ dns: { nameservers: ['dns.example'] } }),
    'ContainerSpec: dns: "dns.example" is not an IP address',
  ],
  [
    withContainer({ capabilityAdd: ['NET ADMIN'] }),
    'ContainerSpec: capability-add: invalid capability "NET ADMIN"',
  ],
  [
    withContainer({ sysctls: { somaxconn: '1' } }),
    'ContainerSpec: sysctls: "somaxconn" is not the name of a sysctl',
  ],
  [
    withContainer({ ulimits: [{ name: 'files', soft: 1, hard: 1 }] }),
    'ContainerSpec: invalid ulimit type: files',
  ],
  [
    withContainer({ ulimits: [{ name: 'nofile', soft: 2, hard: 1 }] }),
    'ContainerSpec: ulimit nofile: ulimit soft limit must be less than or equal to hard limit: 2 > 1',
  ],
  [
    withContainer({ oomScoreAdj: 1001 }),
    'ContainerSpec: oom-score-adj 1001 is out of range: must be between -1000 and 1000',
  ],
  [
    withContainer({ isolation: 'hyperv' }),
    'ContainerSpec: isolation "hyperv" is not possible on Linux: leave it out or use default',
  ],
  // ---- mounts
  [
    withMount({ type: 'npipe', target: '/x' }),
    'ContainerSpec: mount type "npipe" of /x is not supported: use bind, volume or tmpfs',
    'unimplemented',
  ],
  [
    withMount({ target: '/x' }),
    'ContainerSpec: mount type "" of /x is not supported: use bind, volume or tmpfs',
  ],
  [withMount({ type: 'volume' }), 'ContainerSpec: a volume mount has no target'],
  [withMount({ type: 'tmpfs', target: 'x' }), 'invalid mount target, must be an absolute path: x'],
  [withMount({ type: 'tmpfs', target: '/./' }), 'invalid mount target, must not be the root: /./'],
  [
    withMount({ type: 'bind', source: 'x', target: '/x' }),
    'invalid bind mount source, must be an absolute path: x',
  ],
  [withMount({ type: 'bind', target: '/x' }), 'invalid bind mount /x: a source is needed'],
  [
    withMount({ type: 'bind', source: '/a', target: '/x', bind: { propagation: 'up' } }),
    'mount /x: unknown bind propagation "up": expected one of rprivate, private, rshared, shared, rslave, slave',
  ],
  [
    withMount({ type: 'bind', source: '/a', target: '/x', tmpfs: {} }),
    'mount /x: tmpfs options cannot be given for a bind mount',
  ],
  [
    withMount({ type: 'volume', source: '/a', target: '/x' }),
    'invalid volume mount source, must not be an absolute path: /a',
  ],
  [
    withMount({ type: 'volume', source: 'a/b', target: '/x' }),
    'invalid volume mount source "a/b": only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, and 200 of them at most',
  ],
  [
    withMount({ type: 'volume', source: 'a', target: '/x', volume: { driver: 'nfs' } }),
    'mount /x: volume driver "nfs" is not supported yet: use local',
    'unimplemented',
  ],
  [
    withMount({ type: 'volume', source: 'a', target: '/x', volume: { driverOptions: { o: 'b' } } }),
    "mount /x: options of a volume's driver are not supported yet",
    'unimplemented',
  ],
  [
    withContainer({ hosts: ['host-gateway db'] }),
    'ContainerSpec: hosts: host-gateway is not supported yet: give an address',
    'unimplemented',
  ],
  [
    withMount({ type: 'volume', source: 'a', target: '/x', volume: { subpath: 'a/../../b' } }),
    'mount /x: subpath must be a relative path inside the volume: a/../../b',
  ],
  [
    withMount({ type: 'tmpfs', source: 'a', target: '/x' }),
    'invalid tmpfs mount /x: it cannot have a source',
  ],
  [
    withMount({ type: 'tmpfs', target: '/x', tmpfs: { sizeBytes: -1 } }),
    'mount /x: tmpfs size cannot be negative',
  ],
  [
    withContainer({
      mounts: [
        { type: 'tmpfs', target: '/data' },
        { type: 'volume', target: '/data/' },
      ],
    }),
    'ContainerSpec: duplicate mount point: /data/',
  ],
  // ---- resources, restart, placement, logs
  [
    withTask({ resources: { limits: { nanoCpus: 999_999 } } }),
    'invalid cpu value 0.000999999: Must be at least 0.001',
  ],
  [
    withTask({ resources: { reservations: { nanoCpus: -1_000_000_000 } } }),
    'invalid cpu value -1: Must be at least 0.001',
  ],
  [
    withTask({ resources: { limits: { memoryBytes: 4_194_303 } } }),
    'invalid memory value 4194303: Must be at least 4MiB',
  ],
  [
    withTask({ resources: { limits: { pids: -1 } } }),
    'invalid pids limit -1: must be 0 (unlimited) or more',
  ],
  [
    withTask({ resources: { reservations: { pids: 1 } } }),
    'TaskSpec: resources.reservations.pids: pids can only be limited',
  ],
  [
    withTask({ resources: { reservations: { generic: [{ kind: 'gpu' }] } } }),
    'TaskSpec: resources.reservations.generic: generic resources are not supported yet',
    'unimplemented',
  ],
  [
    withTask({ restart: { condition: 'sometimes' } }),
    'TaskSpec: restart-condition "sometimes" is unknown: expected one of none, on-failure, any',
  ],
  [withTask({ restart: { delayNs: -1 } }), 'TaskSpec: restart-delay cannot be negative'],
  [withTask({ restart: { windowNs: -1 } }), 'TaskSpec: restart-window cannot be negative'],
  [withTask({ restart: { maxAttempts: -1 } }), 'TaskSpec: restart-max-attempts cannot be negative'],
  [
    withTask({ placement: { constraints: ['node.role=manager'] } }),
    'constraint expected one operator from ==, !=: got "node.role=manager"',
  ],
  [withTask({ placement: { constraints: ['==x'] } }), "key '' is invalid"],
  [
    withTask({ placement: { spreadOver: ['node.id'] } }),
    'TaskSpec: placement preference "node.id" is invalid: spread over node.labels.<label> or engine.labels.<label>',
  ],
  [
    withTask({ placement: { maxReplicasPerNode: -1 } }),
    'TaskSpec: replicas-max-per-node cannot be negative',
  ],
  [
    withTask({ logDriver: { name: 'syslog' } }),
    'TaskSpec: log driver "syslog" is not supported yet: use json-file',
    'unimplemented',
  ],
  // ---- update and rollback
  [spec({ update: { parallelism: -1 } }), 'TaskSpec: update-parallelism cannot be negative'],
  [spec({ update: { delayNs: -1 } }), 'TaskSpec: update-delay cannot be negative'],
  [spec({ rollback: { monitorNs: -1 } }), 'TaskSpec: rollback-monitor cannot be negative'],
  [
    spec({ update: { maxFailureRatio: 1.1 } }),
    'TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1',
  ],
  [
    spec({ update: { maxFailureRatio: Number.NaN } }),
    'TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1',
  ],
  [
    spec({ update: { failureAction: 'panic' } }),
    'TaskSpec: update-failure-action "panic" is unknown: expected one of pause, continue, rollback',
  ],
  [
    spec({ rollback: { failureAction: 'rollback' } }),
    'TaskSpec: rollback-failure-action "rollback" is unknown: expected one of pause, continue',
  ],
  [
    spec({ update: { order: 'any' } }),
    'TaskSpec: update-order "any" is unknown: expected one of stop-first, start-first',
  ],
  // ---- endpoint
  [spec({ endpoint: { mode: 'lb' } }), 'EndpointSpec: mode "lb" is unknown: expected vip or dnsrr'],
  [
    spec({ endpoint: { mode: 'dnsrr', ports: [{ targetPort: 80 }] } }),
    "EndpointSpec: port published with ingress mode can't be used with dnsrr mode",
  ],
  [
    withPorts({ targetPort: 80, publishedPort: 8080 }, { targetPort: 81, publishedPort: 8080 }),
    'EndpointSpec: duplicate published ports provided: 8080/tcp',
  ],
  [withPorts({ targetPort: 0 }), 'EndpointSpec: target port 0 is out of range: must be 1 to 65535'],
  [
    withPorts({ targetPort: 1, publishedPort: 65_536 }),
    'EndpointSpec: published port 65536 is out of range: must be 1 to 65535',
  ],
  [
    withPorts({ targetPort: 1, protocol: 'icmp' }),
    'EndpointSpec: protocol "icmp" of port 1 is unknown: expected one of tcp, udp, sctp',
  ],
  [
    withPorts({ targetPort: 1, publishMode: 'mesh' }),
    'EndpointSpec: publish mode "mesh" of port 1 is unknown: expected ingress or host',
  ],
  [
    spec({
      task: {
        container: { image: 'web' },
        networks: [{ target: 'host' }, { target: 'backend' }],
      },
    }),
    'TaskSpec: network host cannot be combined with other networks',
  ],
  [
    spec({
      task: { container: { image: 'web' }, networks: [{ target: 'none' }] },
      endpoint: { ports: [{ targetPort: 80 }] },
    }),
    'EndpointSpec: ports cannot be published with network none',
  ],
];

for (const [bad, message, code = 'invalid-argument'] of refused) {
  test(`a service is refused: ${message} [${JSON.stringify(bad).length}]`, (t) => {
    const error = t.throws(() => checkServiceSpec(bad), { message });
    t.true(isShoalError(error, code), `${isShoalError(error) ? error.code : ''}, not ${code}`);
  });
}

const accepted: Record<string, ServiceSpec> = {
  'the least there is': spec(),
  'a global service': spec({ mode: { $case: 'global', value: {} } }),
  'no replicas': spec({ mode: { $case: 'replicated', value: { replicas: 0 } } }),
  templates: withContainer({
    hostname: '{{.Node.Hostname}}-{{.Task.Slot}}',
    env: ['SLOT={{.Task.Slot}}', 'EMPTY=', 'INHERIT'],
    mounts: [
      { type: 'volume', source: 'data-{{.Task.Slot}}', target: '/data' },
      { type: 'bind', source: '{{.Service.Name}}', target: '/etc/x' },
    ],
  }),
  'an anonymous volume': withMount({ type: 'volume', target: '/data' }),
  'several ports that do not collide': withPorts(
    { targetPort: 80, publishedPort: 80 },
    { targetPort: 80, publishedPort: 80, protocol: 'udp' },
    { targetPort: 81 },
    { targetPort: 82 },
  ),
  'dnsrr with a host port': spec({
    endpoint: { mode: 'dnsrr', ports: [{ targetPort: 80, publishMode: 'host' }] },
  }),
  'the host network alone': withTask({ networks: [{ target: 'host' }] }),
  'the smallest resources': withTask({
    resources: { limits: { nanoCpus: 1_000_000, memoryBytes: 4_194_304, pids: 1 } },
  }),
  'a health check of the image with other times': withContainer({
    healthcheck: { intervalNs: 1_000_000, retries: 2 },
  }),
  'signals by name, number and real-time offset': withContainer({ stopSignal: 'SIGRTMIN+3' }),
  'an unlimited ulimit': withContainer({ ulimits: [{ name: 'core', soft: 0, hard: -1 }] }),
  'every placement': withTask({
    placement: {
      constraints: ['node.labels.zone == b', 'node.ip!=10.0.0.0/8'],
      spreadOver: ['node.labels.zone'],
      maxReplicasPerNode: 2,
    },
  }),
};
for (const [what, good] of Object.entries(accepted)) {
  test(`a service is accepted: ${what}`, (t) => {
    t.notThrows(() => checkServiceSpec(good));
  });
}

const IMAGES = [
  'web',
  'library/web:1.2_3-4',
  'registry.example:5000/team/web:1',
  'localhost/web',
  'localhost:5000/a/b',
  '[::1]:5000/a',
  `web@sha256:${'a'.repeat(64)}`,
  `docker.io/library/web:latest@sha256:${'0'.repeat(64)}`,
  'a__b/c-d/e.f',
];
for (const image of IMAGES) {
  test(`an image reference is accepted: ${image}`, (t) => {
    t.notThrows(() => checkServiceSpec(withContainer({ image })));
  });
}

test('a completed spec says what Docker leaves open, so that equal specs are equal', (t) => {
  const sparse = spec({ mode: undefined as never, endpoint: { ports: [{ targetPort: 80 }] } });
  t.deepEqual(sparse.mode, { $case: 'replicated', value: { replicas: 1 } });
  t.is(sparse.endpoint?.ports[0]?.protocol, 'tcp');
  t.is(sparse.endpoint?.ports[0]?.publishMode, 'ingress');
  t.deepEqual(completeServiceSpec(sparse), sparse);
});

test('a long image or name is refused quickly', (t) => {
  const hostile = 'a-'.repeat(50_000);
  t.throws(() => checkServiceSpec(spec({ name: hostile })));
  t.throws(() => checkServiceSpec(withContainer({ image: `${'a.'.repeat(50_000)}/` })));
});
