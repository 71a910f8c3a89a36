import test from 'ava';
import fc from 'fast-check';
import { serviceJson, serviceSpec, withDefaults } from '../../../../agent/engine/json/service.ts';
import type {
  GenericResource,
  Mount,
  Resources,
  ServiceSpec,
  UpdateConfig,
} from '../../../../shared/gen/shoal/v1/objects.ts';
import { anyAutoscale } from '../../../support/autoscale.ts';
import { serviceFixture } from '../../../support/objects.ts';

const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const text = fc.string({ maxLength: 8 });
const texts = fc.array(text, { maxLength: 3 });
const textMap = fc.dictionary(text, text, { maxKeys: 3, noNullPrototype: true });
const size = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const mode = fc.integer({ min: 0, max: 0xffff_ffff });
const file = maybe(fc.record({ name: text, uid: text, gid: text, mode }));

const mount: fc.Arbitrary<Mount> = fc.record({
  type: fc.constantFrom('bind', 'volume', 'tmpfs'),
  source: text,
  target: text,
  readOnly: fc.boolean(),
  consistency: text,
  bind: maybe(
    fc.record({ propagation: text, nonRecursive: fc.boolean(), createMountpoint: fc.boolean() }),
  ),
  volume: maybe(
    fc.record({
      noCopy: fc.boolean(),
      labels: textMap,
      driver: text,
      driverOptions: textMap,
      subpath: text,
    }),
  ),
  tmpfs: maybe(fc.record({ sizeBytes: size, mode })),
});

const generic: fc.Arbitrary<GenericResource> = fc.record({
  kind: text,
  value: fc.oneof(
    fc.record({ $case: fc.constant('discrete' as const), value: size }),
    fc.record({ $case: fc.constant('named' as const), value: text }),
  ),
});
const resources: fc.Arbitrary<Resources> = fc.record({
  nanoCpus: size,
  memoryBytes: size,
  pids: size,
  generic: fc.array(generic, { maxLength: 2 }),
});

const update: fc.Arbitrary<UpdateConfig> = fc.record({
  parallelism: size,
  delayNs: size,
  failureAction: text,
  // 0 is how the API says "not given".
  monitorNs: maybe(fc.integer({ min: 1, max: 1e12 })),
  maxFailureRatio: fc.double({ min: 0, max: 1, noNaN: true }).map((ratio) => ratio + 0),
  order: text,
});

const spec: fc.Arbitrary<ServiceSpec> = fc.record({
  name: text,
  labels: textMap,
  task: fc.record({
    container: fc.record({
      image: text,
      labels: textMap,
      command: texts,
      args: texts,
      hostname: text,
      env: texts,
      dir: text,
      user: text,
      groups: texts,
      tty: fc.boolean(),
      openStdin: fc.boolean(),
      readOnly: fc.boolean(),
      init: maybe(fc.boolean()),
      stopSignal: text,
      stopGracePeriodNs: maybe(size),
      mounts: fc.array(mount, { maxLength: 2 }),
      secrets: fc.array(fc.record({ secretId: text, secretName: text, file }), { maxLength: 2 }),
      configs: fc.array(fc.record({ configId: text, configName: text, file }), { maxLength: 2 }),
      hosts: texts,
      dns: maybe(fc.record({ nameservers: texts, search: texts, options: texts })),
      healthcheck: maybe(
        fc.record({
          test: texts,
          intervalNs: size,
          timeoutNs: size,
          startPeriodNs: size,
          startIntervalNs: size,
          retries: fc.integer({ min: 0, max: 100 }),
        }),
      ),
      sysctls: textMap,
      capabilityAdd: texts,
      capabilityDrop: texts,
      ulimits: fc.array(fc.record({ name: text, hard: size, soft: size }), { maxLength: 2 }),
      oomScoreAdj: fc.integer({ min: -1000, max: 1000 }),
      isolation: text,
      registryAuth: fc.constant(''),
    }),
    resources: maybe(fc.record({ limits: maybe(resources), reservations: maybe(resources) })),
    restart: maybe(
      fc.record({
        condition: text,
        delayNs: maybe(size),
        maxAttempts: maybe(size),
        windowNs: maybe(size),
      }),
    ),
    placement: maybe(
      fc.record({
        constraints: texts,
        spreadOver: texts,
        maxReplicasPerNode: size,
        platforms: fc.array(fc.record({ architecture: text, os: text }), { maxLength: 2 }),
      }),
    ),
    networks: fc.array(fc.record({ target: text, aliases: texts, driverOptions: textMap }), {
      maxLength: 2,
    }),
    logDriver: maybe(fc.record({ name: text, options: textMap })),
    forceUpdate: size,
    runtime: text,
  }),
  mode: fc.oneof(
    fc.record({
      $case: fc.constant('replicated' as const),
      value: fc.record({ replicas: maybe(size) }),
    }),
    fc.record({ $case: fc.constant('global' as const), value: fc.constant({}) }),
    fc.record({
      $case: fc.constant('replicatedJob' as const),
      value: fc.record({ maxConcurrent: maybe(size), totalCompletions: maybe(size) }),
    }),
    fc.record({ $case: fc.constant('globalJob' as const), value: fc.constant({}) }),
  ),
  update: maybe(update),
  rollback: maybe(update),
  autoscale: maybe(anyAutoscale),
  endpoint: maybe(
    fc.record({
      mode: text,
      ports: fc.array(
        fc.record({
          name: text,
          protocol: text,
          targetPort: mode,
          publishedPort: mode,
          publishMode: text,
        }),
        { maxLength: 2 },
      ),
    }),
  ),
});

test('a spec survives the way to a client and back whole', (t) => {
  fc.assert(
    fc.property(spec, (given) => {
      const wire: unknown = JSON.parse(JSON.stringify(serviceSpec.encode(given)));
      t.deepEqual(serviceSpec.decode(wire, ''), given);
    }),
    { numRuns: 300 },
  );
});

test('a spec as the CLI sends it comes back as it was', (t) => {
  const sent = {
    Name: 'web',
    Labels: { a: 'b' },
    TaskTemplate: {
      ContainerSpec: {
        Image: 'web:1@sha256:00',
        Args: ['sh', '-c', 'x'],
        Env: ['A=1'],
        Init: false,
        Mounts: [
          {
            Type: 'volume',
            Source: 'data',
            Target: '/data',
            VolumeOptions: { DriverConfig: { Name: 'local', Options: { o: 'x' } } },
          },
        ],
        StopGracePeriod: 3_000_000_000,
        DNSConfig: {},
        Secrets: [
          {
            File: { Name: 's1', UID: '0', GID: '0', Mode: 292 },
            SecretID: '5wbhrjx56l2jtgg9z4wfup5ft',
            SecretName: 's1',
          },
        ],
      },
      Resources: { Limits: { NanoCPUs: 5e8 }, Reservations: {} },
      RestartPolicy: { Condition: 'any', Delay: 5_000_000_000, MaxAttempts: 0 },
      Placement: {
        Preferences: [{ Spread: { SpreadDescriptor: 'node.labels.zone' } }],
        Platforms: [{ Architecture: 'amd64', OS: 'linux' }],
      },
      Networks: [{ Target: 'aiuvbf61z82olp23hd7of2w4g' }],
      ForceUpdate: 0,
      Runtime: 'container',
    },
    Mode: { Replicated: { Replicas: 3 } },
    UpdateConfig: {
      Parallelism: 1,
      FailureAction: 'pause',
      Monitor: 5_000_000_000,
      MaxFailureRatio: 0,
      Order: 'stop-first',
    },
    EndpointSpec: {
      Mode: 'vip',
      Ports: [{ Protocol: 'tcp', TargetPort: 80, PublishedPort: 8080, PublishMode: 'ingress' }],
    },
  };
  t.deepEqual(JSON.parse(JSON.stringify(serviceSpec.encode(serviceSpec.decode(sent, '')))), sent);
});

test('networks in the place from before API 1.44 become the task’s, unless it has its own', (t) => {
  const old = serviceSpec.decode({ Networks: [{ Target: 'n1' }] }, '');
  t.is(old.task?.networks[0]?.target, 'n1');
  const both = serviceSpec.decode(
    { Networks: [{ Target: 'n1' }], TaskTemplate: { Networks: [{ Target: 'n2' }] } },
    '',
  );
  t.deepEqual(
    both.task?.networks.map(({ target }) => target),
    ['n2'],
  );
});

test('no mode is one replica, two modes are refused', (t) => {
  t.deepEqual(serviceSpec.decode({}, '').mode, { $case: 'replicated', value: { replicas: 1 } });
  t.throws(() => serviceSpec.decode({ Mode: { Global: {}, Replicated: {} } }, ''), {
    message: /must specify only one service mode/,
  });
});

const REFUSED: [body: object, field: string][] = [
  [{ ContainerSpec: { Privileges: { CredentialSpec: { Config: 'x' } } } }, 'CredentialSpec.Config'],
  [
    { ContainerSpec: { Mounts: [{ BindOptions: { ReadOnlyNonRecursive: true } }] } },
    'Mounts[0].BindOptions.ReadOnlyNonRecursive',
  ],
  [{ ContainerSpec: { Mounts: [{ ClusterOptions: { X: 1 } }] } }, 'ClusterOptions.X'],
  [{ ContainerSpec: { Configs: [{ Runtime: { X: 1 } }] } }, 'Configs[0].Runtime.X'],
  [{ PluginSpec: { Name: 'x' } }, 'TaskTemplate.PluginSpec.Name'],
  [{ Resources: { SwapBytes: 5 } }, 'Resources.SwapBytes'],
];
for (const [template, field] of REFUSED) {
  test(`${field} is refused by name`, (t) => {
    const error = t.throws(() => serviceSpec.decode({ TaskTemplate: template }, ''));
    t.true(error.message.includes(field), error.message);
  });
}

test('credentials of a registry are never shown', (t) => {
  const service = serviceFixture({
    spec: { task: { container: { image: 'x', registryAuth: 'c2VjcmV0' } } },
  });
  t.false(JSON.stringify(serviceJson(service)).includes('c2VjcmV0'));
});

test('withDefaults() fills what holds when nothing is said, and keeps what was said', (t) => {
  const filled = withDefaults(serviceSpec.decode({ UpdateConfig: { Parallelism: 4 } }, ''));
  t.is(filled.update?.parallelism, 4);
  t.is(filled.update?.order, 'stop-first');
  t.is(filled.rollback?.parallelism, 1);
  t.is(filled.task?.restart?.condition, 'any');
  t.is(filled.task?.restart?.delayNs, 5e9);
  t.is(filled.task?.container?.stopGracePeriodNs, 10e9);
  t.is(filled.endpoint?.mode, 'vip');
});

test('withDefaults() gives jobs no update policy: they are never rolled', (t) => {
  const filled = withDefaults(serviceSpec.decode({ Mode: { ReplicatedJob: {} } }, ''));
  t.is(filled.update, undefined);
  t.is(filled.task?.restart?.condition, 'on-failure');
});
