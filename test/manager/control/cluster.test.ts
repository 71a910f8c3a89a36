import test from 'ava';
import { finishRotation } from '../../../manager/ca/trust.ts';
import { bootstrapObjects } from '../../../manager/control/bootstrap.ts';
import { Store } from '../../../manager/store/store.ts';
import { createAction, removeAction, updateAction } from '../../../manager/store/tables.ts';
import {
  UpdateClusterRequest,
  type WatchChunk,
  WatchRequest,
} from '../../../shared/gen/shoal/v1/control.ts';
import { ClusterSpec, NodeRole, RootCa } from '../../../shared/gen/shoal/v1/objects.ts';
import {
  DEFAULT_CLUSTER_SPEC,
  newAddressPools,
  newDataPathPort,
} from '../../../shared/model/cluster-spec.ts';
import { createRootCa } from '../../../shared/pki/io/x509.ts';
import { parseJoinToken } from '../../../shared/pki/join-token.ts';
import { controlFixture } from '../../support/control.ts';
import { settle } from '../../support/manual-clock.ts';
import {
  clusterFixture,
  nodeFixture,
  secretFixture,
  serviceFixture,
} from '../../support/objects.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { applyDirect } from '../../support/store.ts';

const CLUSTER = {
  start: {
    nodeId: 'n'.repeat(25),
    clusterId: 'c'.repeat(25),
    advertiseAddress: '10.1.0.1:2377',
    raftAdvertiseAddress: '10.1.0.1:7946',
  },
  bootstrap: {
    rootCertificatePem: 'CERT',
    rootKeyPem: 'KEY',
    hostname: 'h1',
    availability: 0,
    ...newAddressPools({ defaultAddressPools: [], subnetSize: 0 }),
    dataPathPort: newDataPathPort(0),
    spec: DEFAULT_CLUSTER_SPEC,
  },
  raftId: 'r1',
  random: new SeededRandom(1),
};

test('a new cluster begins with itself, its first manager and the ingress network', (t) => {
  const store = new Store();
  applyDirect(store, bootstrapObjects(CLUSTER));
  t.like(store.cluster(), {
    id: CLUSTER.start.clusterId,
    defaultAddressPools: ['10.0.0.0/8'],
    subnetSize: 24,
    dataPathPort: 4789,
    spec: { name: 'default', taskHistoryLimit: 5, dispatcherHeartbeatNs: 1_000_000_000 },
  });
  t.like(store.get('node', CLUSTER.start.nodeId), {
    spec: { role: NodeRole.MANAGER },
    certificateRole: NodeRole.MANAGER,
    managerStatus: { raftId: 'r1', address: '10.1.0.1:2377', raftAddress: '10.1.0.1:7946' },
  });
  t.like(store.byName('network', 'ingress'), { spec: { driver: 'overlay', ingress: true } });
  const root = store.cluster()?.rootCa;
  t.regex(root?.workerSecret ?? '', /^[0-9a-z]{25}$/);
  t.not(root?.workerSecret, root?.managerSecret);
});

test('the cluster is shown with its tokens and without its secrets', async (t) => {
  const node = [nodeFixture({ spec: { role: NodeRole.MANAGER } }), nodeFixture()];
  const { control, consensus } = await controlFixture({ node });
  const member = { raftId: '1', nodeId: 'n1', address: '', raftAddress: '' };
  consensus.setStatus({ members: [{ member, learner: false, active: true, matchIndex: 0 }] });
  const info = await control.getCluster();
  t.like(info, { nodes: 2, managers: 1, leaderId: 'n1' });
  t.deepEqual(info.cluster?.rootCa, {
    certificatePem: 'CERT',
    keyPem: '',
    workerSecret: '',
    managerSecret: '',
    rotation: undefined,
    former: [],
  });
  t.is(info.workerToken, `SWMTKN-1-${'d'.repeat(50)}-w`);
  t.is(info.managerToken, `SWMTKN-1-${'d'.repeat(50)}-m`);
});

test('rotating a token changes that one only', async (t) => {
  const { control, updateCluster } = await controlFixture();
  const before = await control.getCluster();
  const version = before.cluster?.meta?.version ?? 0;
  const after = await updateCluster({ version, rotateWorkerToken: true });
  t.is(parseJoinToken(after.workerToken).rootDigest, 'd'.repeat(50));
  t.not(after.workerToken, before.workerToken);
  t.is(after.managerToken, before.managerToken);
  await t.throwsAsync(updateCluster({ version, rotateManagerToken: true }), {
    message: 'update out of sequence',
  });
});

test('the cluster spec keeps what is left out and refuses what cannot change', async (t) => {
  const { control, updateCluster, store } = await controlFixture();
  const update = async (spec: Partial<ClusterSpec>) => {
    const { cluster } = await control.getCluster();
    const fields = { ...ClusterSpec.fromPartial({}), ...spec };
    await updateCluster({ version: cluster?.meta?.version ?? 0, spec: fields });
    return store.cluster()?.spec;
  };
  t.like(await update({ taskHistoryLimit: 0, dispatcherHeartbeatNs: 5_000_000_000 }), {
    name: 'default',
    taskHistoryLimit: 0,
    dispatcherHeartbeatNs: 5_000_000_000,
    nodeCertExpiryNs: 2160 * 3600 * 1_000_000_000,
  });
  const refused: [Partial<ClusterSpec>, string][] = [
    [{ name: 'other' }, 'cluster name is immutable'],
    [{ nodeCertExpiryNs: 3_599_000_000_000 }, 'minimum certificate expiry time is: 1h0m0s'],
    [{ dispatcherHeartbeatNs: 1_000_000 }, 'heartbeat time period must be at least 100ms'],
    [{ electionTick: 3 }, 'Raft: electionTick cannot be changed: it is 0'],
    [{ snapshotInterval: -1 }, 'Raft: snapshotInterval cannot be negative'],
    [
      { defaultLogDriver: { name: 'syslog', options: {} } },
      'TaskDefaults: log driver "syslog" is not supported yet: use json-file',
    ],
  ];
  for (const [spec, message] of refused) await t.throwsAsync(update(spec), { message });
});

test('watch() tells changes of the kinds asked for, without what must not be shown', async (t) => {
  const { control, writer, store } = await controlFixture();
  const stop = new AbortController();
  const chunks: WatchChunk[] = [];
  const began = store.index;
  const reading = (async () => {
    for await (const chunk of control.watch(
      { kinds: ['secret', 'service'], sinceMs: 0, afterIndex: 0 },
      stop.signal,
    )) {
      chunks.push(chunk);
    }
  })();
  const secret = secretFixture();
  await writer.write([createAction('node', nodeFixture())]);
  await writer.write([
    createAction('secret', secret),
    createAction('node', nodeFixture()),
    createAction('service', serviceFixture()),
  ]);
  await writer.write([removeAction('secret', secret.id)]);
  await settle();
  stop.abort();
  await reading;
  t.deepEqual(
    chunks.map(({ index, events }) => [
      index,
      events.map(({ action, object }) => [action, object?.kind?.$case]),
    ]),
    [
      [began, []],
      [
        store.index - 1,
        [
          ['create', 'secret'],
          ['create', 'service'],
        ],
      ],
      [store.index, [['remove', 'secret']]],
    ],
  );
  t.false(JSON.stringify(chunks).includes('hush'));
  t.throws(() => control.watch({ kinds: ['volume'], sinceMs: 0, afterIndex: 0 }, stop.signal), {
    message: /"volume"/,
  });
});

test('watch() without kinds tells all but the cluster object', async (t) => {
  const { control, writer, updateCluster, store } = await controlFixture();
  const { signal } = new AbortController();
  const reader = control
    .watch({ kinds: [], sinceMs: 0, afterIndex: 0 }, signal)
    [Symbol.asyncIterator]();
  await updateCluster({ version: store.cluster()?.meta?.version ?? 0, rotateWorkerToken: true });
  await writer.write([createAction('node', nodeFixture())]);
  await reader.next(); // where it begins
  const { value } = await reader.next();
  t.is(value?.events[0]?.object?.kind?.$case, 'node');
});

test('watch() with a time tells first what is kept since then, then where the present begins', async (t) => {
  const { control, writer, clock } = await controlFixture();
  await writer.write([createAction('service', serviceFixture())]);
  await clock.advance(1_000);
  const sinceMs = clock.now();
  const secret = secretFixture();
  await writer.write([createAction('secret', secret)]);
  await clock.advance(1_000);
  const stop = new AbortController();
  const reader = control
    .watch({ kinds: ['secret', 'service'], sinceMs, afterIndex: 0 }, stop.signal)
    [Symbol.asyncIterator]();
  const past = (await reader.next()).value as WatchChunk;
  t.is(past.atMs, sinceMs);
  t.deepEqual(
    past.events.map(({ action, object }) => [action, object?.kind?.$case]),
    [['create', 'secret']],
  );
  t.deepEqual((await reader.next()).value?.events, []);
  await writer.write([removeAction('secret', secret.id)]);
  const now = (await reader.next()).value as WatchChunk;
  t.deepEqual([now.events[0]?.action, now.atMs], ['remove', clock.now()]);
  stop.abort();
});

test('managers that lock themselves share a key; it can be replaced, and goes with the lock', async (t) => {
  const { control, store } = await controlFixture();
  const update = (autolockManagers: boolean, rotateUnlockKey = false) => {
    const stored = store.cluster();
    const spec = ClusterSpec.fromPartial({ ...stored?.spec, autolockManagers });
    const version = stored?.meta?.version ?? 0;
    return control.updateCluster(
      UpdateClusterRequest.fromPartial({ version, spec, rotateUnlockKey }),
    );
  };
  const key = () => store.cluster()?.unlockKey.toString('hex') ?? '';
  await update(false, true);
  t.is(key(), '');
  await update(true);
  const first = key();
  t.is(first.length, 64);
  await update(true);
  t.is(key(), first);
  const shown = await update(true, true);
  t.not(key(), first);
  t.is(shown.cluster?.unlockKey.length, 0, 'it is not shown with the cluster');
  await update(false);
  t.is(key(), '');
});

test('a new cluster may lock itself from the start', (t) => {
  const store = new Store();
  const spec = { ...DEFAULT_CLUSTER_SPEC, autolockManagers: true };
  const bootstrap = { ...CLUSTER.bootstrap, spec };
  applyDirect(store, bootstrapObjects({ ...CLUSTER, bootstrap }));
  t.is(store.cluster()?.unlockKey.length, 32);
});

test('a root rotates when it is asked for: a new one or one that is given, and one at a time', async (t) => {
  const root = createRootCa();
  const cluster = clusterFixture({ rootCa: { ...root, workerSecret: 'w', managerSecret: 'm' } });
  const { control, store, updateCluster, writer } = await controlFixture({ cluster: [cluster] });
  const stored = () => store.cluster() ?? cluster;
  const version = () => stored().meta?.version ?? 0;
  const asked = (spec: Partial<ClusterSpec>, fields: Partial<UpdateClusterRequest> = {}) =>
    updateCluster({ version: version(), spec: { ...stored().spec, ...spec }, ...fields });

  await asked({ taskHistoryLimit: 7 });
  t.is(stored().rootCa?.rotation, undefined, 'nobody asked for it');
  await t.throwsAsync(() => asked({}, { rootCertificatePem: createRootCa().certificatePem }), {
    message: /external certificate authorities are not supported/,
  });
  await asked({ forceRotate: 1 });
  t.is(stored().rootCa?.certificatePem, root.certificatePem, 'trusted until all have followed');
  const next = stored().rootCa?.rotation?.certificatePem ?? '';
  t.regex(next, /BEGIN CERTIFICATE/);
  const shown = (await control.getCluster()).cluster?.rootCa;
  t.is(shown?.rotation?.certificatePem, next);
  t.is(shown?.rotation?.keyPem, '', 'its key stays with the managers');
  await asked({ forceRotate: 1 });
  t.is(stored().rootCa?.rotation?.certificatePem, next, 'the same number asks for nothing');
  await t.throwsAsync(() => asked({ forceRotate: 2 }), { message: /being rotated already/ });

  const rootCa = finishRotation(stored().rootCa ?? RootCa.fromPartial({}), Date.now());
  await writer.write([updateAction('cluster', { ...stored(), rootCa })]);
  const given = createRootCa('given');
  const own = { rootCertificatePem: given.certificatePem, rootKeyPem: given.keyPem };
  await asked({}, own);
  t.is(stored().rootCa?.rotation?.certificatePem, given.certificatePem);
});

test('watch() resumes after an index without a gap, and refuses one that is not there yet', async (t) => {
  const { control, store, createFile } = await controlFixture();
  const index = store.index;
  const id = await createFile('config', 'one');
  await createFile('secret', 'two');
  const end = new AbortController();
  const resumed = (afterIndex: number) =>
    control
      .watch(WatchRequest.fromPartial({ kinds: ['config'], afterIndex }), end.signal)
      [Symbol.asyncIterator]();
  const chunks = resumed(index);
  const first: WatchChunk | undefined = (await chunks.next()).value;
  t.is(first?.events[0]?.object?.kind?.value.id, id);
  const next = chunks.next();
  const later = await createFile('config', 'three');
  t.is((await next).value?.events[0]?.object?.kind?.value.id, later);
  await t.throwsAsync(() => resumed(store.index + 1).next(), { message: /lies in the future/ });
  end.abort();
});
