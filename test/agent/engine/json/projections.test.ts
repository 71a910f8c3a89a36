import { X509Certificate } from 'node:crypto';
import test from 'ava';
import fc from 'fast-check';
import { clusterSpec, clusterTls } from '../../../../agent/engine/json/cluster.ts';
import {
  containerJson,
  containerSummaryJson,
  statusText,
} from '../../../../agent/engine/json/container.ts';
import { configJson, secretJson, secretSpec } from '../../../../agent/engine/json/files.ts';
import { humanDuration, humanSize, progressBar } from '../../../../agent/engine/json/human.ts';
import { historyJson, imageJson } from '../../../../agent/engine/json/image.ts';
import { networkCreate, networkJson } from '../../../../agent/engine/json/network.ts';
import { nodeJson, nodeSpec } from '../../../../agent/engine/json/node.ts';
import { statsJson } from '../../../../agent/engine/json/stats.ts';
import { taskJson } from '../../../../agent/engine/json/task.ts';
import { tlsInfo } from '../../../../agent/engine/json/tls-info.ts';
import { topJson } from '../../../../agent/engine/json/top.ts';
import {
  Cluster,
  NodeDescription,
  NodeState,
  type NodeTls,
  TaskState,
} from '../../../../shared/gen/shoal/v1/objects.ts';
import { createRootCa } from '../../../../shared/pki/io/x509.ts';
import { containerConfig } from '../../../support/container-config.ts';
import { imageFixture } from '../../../support/fake-host.ts';
import {
  configFixture,
  networkFixture,
  nodeFixture,
  secretFixture,
  taskFixture,
} from '../../../support/objects.ts';

const wire = (value: unknown): Record<string, unknown> => JSON.parse(JSON.stringify(value));

test('a cluster spec survives the way to a client and back whole', (t) => {
  const size = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
  const spec = fc.record({
    name: fc.string(),
    labels: fc.dictionary(fc.string(), fc.string(), { noNullPrototype: true }),
    taskHistoryLimit: fc.integer({ min: -5, max: 100 }),
    snapshotInterval: size,
    keepOldSnapshots: size,
    logEntriesForSlowFollowers: size,
    electionTick: size,
    heartbeatTick: size,
    dispatcherHeartbeatNs: size,
    nodeCertExpiryNs: size,
    forceRotate: size,
    autolockManagers: fc.boolean(),
    defaultLogDriver: fc.option(fc.record({ name: fc.string(), options: fc.constant({}) }), {
      nil: undefined,
    }),
  });
  fc.assert(
    fc.property(spec, (given) => {
      t.deepEqual(clusterSpec.decode(wire(clusterSpec.encode(given)), ''), given);
    }),
  );
});

test('a cluster spec without a history limit has Swarm’s, and 0 stays 0', (t) => {
  t.is(clusterSpec.decode({}, '').taskHistoryLimit, 5);
  const none = { Orchestration: { TaskHistoryRetentionLimit: 0 } };
  t.is(clusterSpec.decode(none, '').taskHistoryLimit, 0);
});

test('an external CA is refused, not dropped', (t) => {
  t.throws(() => clusterSpec.decode({ CAConfig: { ExternalCAs: [{ URL: 'x' }] } }, ''), {
    message: 'this field is not supported yet: CAConfig.ExternalCAs',
  });
});

test('a node shows its standing as a manager, and its certificate when it is the cluster’s', (t) => {
  const info = { TrustRoot: 'PEM', CertIssuerSubject: 's', CertIssuerPublicKey: 'k' };
  const node = {
    ...nodeFixture({ status: { state: NodeState.DOWN, address: '10.0.0.1' } }),
    managerStatus: {
      raftId: '1',
      address: '10.0.0.1:2377',
      raftAddress: '',
      leader: true,
      reachable: false,
    },
  };
  const up = { ...node, status: { state: NodeState.READY, address: '10.0.0.1', message: '' } };
  const reporting = (tls: NodeTls, is: typeof node = up) =>
    ({ ...is, description: NodeDescription.fromPartial({ ...node.description, tls }) }) as const;
  const tls = { info, rootDigest: 'new', issuerDigest: 'new' };
  const done = reporting({ issuerDigest: 'new', rootDigests: ['new'], keyDigest: 'k' }, node);
  const shown = nodeJson(done, tls);
  t.like(wire(shown), {
    Status: { State: 'down', Addr: '10.0.0.1' },
    ManagerStatus: { Leader: true, Reachability: 'unreachable', Addr: '10.0.0.1:2377' },
    Spec: { Role: 'worker', Availability: 'active' },
    Description: { Hostname: node.description?.hostname },
  });
  t.deepEqual(shown.Description.TLSInfo, info);
  t.deepEqual(wire(shown.Description).Engine, {
    EngineVersion: '28.2.2',
    Plugins: [
      { Type: 'Network', Name: 'overlay' },
      { Type: 'Volume', Name: 'local' },
      { Type: 'Log', Name: 'json-file' },
    ],
  });
  const shownTls = (own: NodeTls) => nodeJson(reporting(own), tls).Description.TLSInfo;
  const late = shownTls({ issuerDigest: 'old', rootDigests: ['old', 'new'], keyDigest: 'k' });
  t.deepEqual(late, {
    TrustRoot: '',
    CertIssuerSubject: Buffer.from('old').toString('base64'),
    CertIssuerPublicKey: '',
  });
  t.deepEqual(
    shownTls({ issuerDigest: 'new', rootDigests: ['old', 'new'], keyDigest: 'k' }),
    { ...info, TrustRoot: '' },
    'it still trusts the old root',
  );
  t.is(nodeJson(up, tls).Description.TLSInfo?.CertIssuerSubject, '', 'it reported nothing');
});

test('a node that is down shows the root it comes back by, once a rotation is over', (t) => {
  const info = { TrustRoot: 'PEM', CertIssuerSubject: 's', CertIssuerPublicKey: 'k' };
  const own = { issuerDigest: 'old', rootDigests: ['old'], keyDigest: 'k' };
  const shown = (state: NodeState, rootDigest: string) => {
    const node = nodeFixture({ status: { state }, description: { tls: own } });
    return nodeJson(node, { info, rootDigest, issuerDigest: 'new' }).Description.TLSInfo;
  };
  t.deepEqual(shown(NodeState.DOWN, 'new'), info);
  t.is(shown(NodeState.READY, 'new')?.TrustRoot, '', 'one that is up shows what it has');
  t.not(shown(NodeState.DOWN, 'old')?.CertIssuerSubject, 's', 'the rotation goes on');
});

test('while the root is rotated a cluster shows the old root as trusted and the next as the issuer', (t) => {
  const [old, next] = [createRootCa('swarm-ca'), createRootCa('next-ca')];
  const rotation = { ...next, crossSignedPem: '' };
  const cluster = Cluster.fromPartial({ rootCa: { ...old, rotation } });
  const shown = clusterTls(cluster);
  t.is(shown.TrustRoot, old.certificatePem);
  t.is(shown.CertIssuerPublicKey, tlsInfo(next.certificatePem).CertIssuerPublicKey);
  t.deepEqual(clusterTls(Cluster.fromPartial({ rootCa: old })), tlsInfo(old.certificatePem));
});

test('a node spec with another role word is refused, naming the right ones', (t) => {
  t.throws(() => nodeSpec.decode({ Role: 'boss' }, ''), {
    message: 'Role must be one of worker, manager, not "boss"',
  });
});

test('a task shows its state in words, its failure, and the networks it is on', (t) => {
  const network = networkFixture({ ipam: [{ subnet: '10.0.1.0/24', gateway: '10.0.1.1' }] });
  const task = taskFixture({
    nodeId: 'n',
    status: {
      state: TaskState.FAILED,
      err: 'task: non-zero exit (3)',
      container: { containerId: 'c', pid: 5, exitCode: 3 },
    },
    networks: [{ networkId: network.id, addresses: ['10.0.1.5/24'] }],
  });
  t.like(wire(taskJson(task, (id) => (id === network.id ? network : undefined))), {
    Slot: 1,
    NodeID: 'n',
    DesiredState: 'running',
    Status: {
      State: 'failed',
      Err: 'task: non-zero exit (3)',
      ContainerStatus: { ContainerID: 'c', PID: 5, ExitCode: 3 },
    },
    NetworksAttachments: [{ Addresses: ['10.0.1.5/24'], Network: { ID: network.id } }],
  });
});

test('a global task has no slot', (t) => {
  t.false('Slot' in taskJson(taskFixture({ slot: 0 }), () => undefined));
});

test('a config shows its data, a secret never', (t) => {
  t.like(wire(configJson(configFixture())), {
    Spec: { Data: Buffer.from('key = value').toString('base64') },
  });
  t.false(JSON.stringify(secretJson(secretFixture())).includes('Data'));
  t.is(secretSpec.decode({ Data: 'aHVzaA==' }, '').data.toString(), 'hush');
});

test('a network body becomes a spec; what it cannot have is refused by name', (t) => {
  const spec = networkCreate.decode(
    {
      Name: 'n',
      Driver: 'overlay',
      CheckDuplicate: true,
      EnableIPv4: true,
      IPAM: { Driver: 'default', Options: {}, Config: [{ Subnet: '10.9.0.0/24' }] },
      Options: { encrypted: '' },
    },
    '',
  );
  t.like(spec, { name: 'n', driver: 'overlay', driverOptions: { encrypted: '' } });
  t.is(spec.ipam[0]?.subnet, '10.9.0.0/24');
  for (const [body, field] of [
    [{ ConfigFrom: { Network: 'x' } }, 'ConfigFrom.Network'],
    [{ ConfigOnly: true }, 'ConfigOnly'],
    [{ IPAM: { Driver: 'dhcp' } }, 'IPAM.Driver'],
    [{ EnableIPv4: false }, 'EnableIPv4'],
  ] as const) {
    const error = t.throws(() => networkCreate.decode(body, ''));
    t.true(error.message.includes(field), error.message);
  }
});

test('a network shows what was allocated rather than what was asked for', (t) => {
  const network = networkFixture({
    vni: 4097,
    ipam: [{ subnet: '10.0.1.0/24', gateway: '10.0.1.1' }],
  });
  t.like(wire(networkJson(network, [])), {
    Scope: 'swarm',
    IPAM: { Config: [{ Subnet: '10.0.1.0/24', Gateway: '10.0.1.1' }] },
    Options: { 'com.docker.network.driver.overlay.vxlanid_list': '4097' },
    Containers: {},
  });
});

const RUNNING = {
  status: 'running',
  pid: 7,
  exitCode: 0,
  oomKilled: false,
  startedAtMs: 1000,
  finishedAtMs: 0,
  error: '',
} as const;

test('statusText() words a container’s state as docker ps does', (t) => {
  t.is(statusText(RUNNING, 4_500), 'Up 3 seconds');
  t.is(
    statusText({ ...RUNNING, status: 'exited', exitCode: 137, finishedAtMs: 2_000 }, 62_000),
    'Exited (137) About a minute ago',
  );
  t.is(statusText({ ...RUNNING, status: 'created' }, 0), 'Created');
});

test('a container shows its address, image and limits where clients look for them', (t) => {
  const config = containerConfig('sleep 1', {
    name: 'web.1.abc',
    hostname: 'h',
    network: {
      mode: 'netns',
      path: '/run/netns/x',
      endpoints: [
        {
          networkId: 'net1',
          networkName: 'ov',
          address: '10.0.1.5/24',
          gateway: '10.0.1.1',
          macAddress: '02:00:0a:00:01:05',
          aliases: ['web'],
        },
      ],
    },
    resources: { nanoCpus: 5e8, memoryBytes: 64, memoryReservationBytes: 0, pids: 10 },
    mounts: [
      {
        type: 'volume',
        name: 'v',
        source: '/x/_data',
        target: '/v',
        readOnly: true,
        driver: 'local',
      },
    ],
  });
  const container = { config, state: RUNNING };
  const shown = wire(containerJson(container, imageFixture().config));
  t.like(shown, {
    Name: '/web.1.abc',
    State: { Running: true, Status: 'running', FinishedAt: '0001-01-01T00:00:00Z' },
    HostConfig: { NanoCpus: 5e8, Memory: 64, PidsLimit: 10, NetworkMode: 'ov' },
    NetworkSettings: {
      Networks: { ov: { IPAddress: '10.0.1.5', IPPrefixLen: 24, NetworkID: 'net1' } },
    },
    Mounts: [{ Type: 'volume', Name: 'v', Destination: '/v', RW: false }],
  });
  t.like(containerSummaryJson(container, 4_500, imageFixture().config), {
    Names: ['/web.1.abc'],
    State: 'running',
    Status: 'Up 3 seconds',
    Ports: [{ PrivatePort: 80, Type: 'tcp' }],
  });
});

test('health is shown as docker ps and inspect do', (t) => {
  const probe = { startedAtMs: 1_000, endedAtMs: 1_500, exitCode: 1, output: 'refused' };
  const check = {
    test: ['CMD-SHELL', 'wget -q localhost'],
    intervalNs: 1e9,
    timeoutNs: 2e9,
    startPeriodNs: 0,
    startIntervalNs: 0,
    retries: 3,
  };
  const view = { status: 'starting', failingStreak: 1, log: [probe], check } as const;
  t.is(statusText(RUNNING, 4_500, view), 'Up 3 seconds (health: starting)');
  t.is(statusText(RUNNING, 4_500, { ...view, status: 'healthy' }), 'Up 3 seconds (healthy)');
  t.is(statusText(RUNNING, 4_500, { ...view, status: 'unhealthy' }), 'Up 3 seconds (unhealthy)');
  const exited = { ...RUNNING, status: 'exited', finishedAtMs: 2_000 } as const;
  t.is(statusText(exited, 4_500, view), 'Exited (0) 2 seconds ago');
  const container = { config: containerConfig('sleep 1'), state: RUNNING };
  t.like(wire(containerJson(container, imageFixture().config, view)), {
    State: {
      Health: {
        Status: 'starting',
        FailingStreak: 1,
        Log: [
          {
            Start: '1970-01-01T00:00:01.000Z',
            End: '1970-01-01T00:00:01.500Z',
            ExitCode: 1,
            Output: 'refused',
          },
        ],
      },
    },
    Config: { Healthcheck: { Test: check.test, Interval: 1e9, Timeout: 2e9, Retries: 3 } },
  });
  const bare = containerJson(container, imageFixture().config);
  t.false('Health' in bare.State, 'as Docker does without a check');
});

test('an image shows Go’s nulls for what it does not have', (t) => {
  const shown = imageJson(imageFixture());
  t.is(shown.Config.Entrypoint, null);
  t.deepEqual(shown.Config.ExposedPorts, { '80/tcp': {} });
  t.is(historyJson(imageFixture())[0]?.Id, imageFixture().id);
  const entry = { createdAt: '', createdBy: '', comment: '' };
  const history = [false, true, false].map((emptyLayer) => ({ ...entry, emptyLayer }));
  const layered = imageFixture({ history, layerBytes: [10, 20] });
  t.deepEqual(
    historyJson(layered).map(({ Size }) => Size),
    [20, 0, 10],
  );
});

const DURATIONS: [seconds: number, words: string][] = [
  [0.5, 'Less than a second'],
  [1, '1 second'],
  [59, '59 seconds'],
  [60, 'About a minute'],
  [120, '2 minutes'],
  [3600, 'About an hour'],
  [47 * 3600, '47 hours'],
  [48 * 3600, '2 days'],
  [15 * 86_400, '2 weeks'],
  [70 * 86_400, '2 months'],
  [800 * 86_400, '2 years'],
];
test('humanDuration() words durations as docker does', (t) => {
  t.deepEqual(
    DURATIONS.map(([seconds]) => humanDuration(seconds * 1000)),
    DURATIONS.map(([, words]) => words),
  );
});

test('humanSize() and progressBar() are what docker pull shows', (t) => {
  t.deepEqual([0, 999, 1500, 3_000_000].map(humanSize), ['0B', '999B', '1.5kB', '3MB']);
  t.is(progressBar(5, 10).length, 53 + '  5B/10B'.length);
  t.regex(progressBar(5, 10), /^\[={25}> {25}\] {2}5B\/10B$/);
});

test('stats of a stopped container are zeros', (t) => {
  const shown = wire(statsJson({ id: 'c', name: 'n' }, undefined, undefined));
  t.like(shown, {
    name: '/n',
    read: '0001-01-01T00:00:00Z',
    cpu_stats: { cpu_usage: { total_usage: 0 } },
  });
  t.deepEqual(shown.memory_stats, {});
});

test('topJson() has a PID column in both styles', (t) => {
  const row = {
    user: 'root',
    pid: 7,
    parentPid: 1,
    cpuPercent: 0,
    startedAt: 0,
    tty: '?',
    cpuSeconds: 3725,
    command: 'x',
  };
  t.deepEqual(topJson([row], '-ef', 0).Processes[0]?.slice(0, 3), ['root', '7', '1']);
  t.is(topJson([row], '-ef', 0).Processes[0]?.[6], '01:02:05');
  t.deepEqual(topJson([row], 'aux', 0).Titles.slice(0, 2), ['USER', 'PID']);
});

test('tlsInfo() has the subject and public key of the root as base64 of DER', (t) => {
  const { certificatePem } = createRootCa('swarm-ca');
  const certificate = new X509Certificate(certificatePem);
  const spki = certificate.publicKey.export({ type: 'spki', format: 'der' });
  const info = tlsInfo(certificatePem);
  t.is(info.CertIssuerPublicKey, spki.toString('base64'));
  t.true(Buffer.from(info.CertIssuerSubject, 'base64').includes('swarm-ca'));
  t.is(info.TrustRoot, certificatePem);
});

test('tlsInfo() of what is no certificate is empty', (t) => {
  t.is(tlsInfo('CERT').TrustRoot, '');
  t.is(tlsInfo('').CertIssuerPublicKey, '');
});
