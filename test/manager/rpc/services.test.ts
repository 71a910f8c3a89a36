import test, { type ExecutionContext } from 'ava';
import { grpcManagerLink } from '../../../agent/session/io/manager-link.ts';
import { ManagerDirectory } from '../../../agent/session/managers.ts';
import { AgentSession } from '../../../agent/session/session.ts';
import type { SessionHandler } from '../../../agent/session/types.ts';
import { createAction, removeAction } from '../../../manager/store/tables.ts';
import { isShoalError, messageOf } from '../../../shared/errors.ts';
import { CertificateAuthorityService } from '../../../shared/gen/shoal/v1/ca.ts';
import { ControlService } from '../../../shared/gen/shoal/v1/control.ts';
import type {
  Assignments,
  LogSubscriptionChange,
} from '../../../shared/gen/shoal/v1/dispatcher.ts';
import { LogMessage, LogSubscription } from '../../../shared/gen/shoal/v1/logs.ts';
import {
  NodeDescription,
  NodeRole,
  NodeState,
  TaskState,
  TaskStatus,
} from '../../../shared/gen/shoal/v1/objects.ts';
import { PeerService } from '../../../shared/gen/shoal/v1/peer.ts';
import { systemClock, systemRandom } from '../../../shared/io/system.ts';
import { silentLog } from '../../../shared/log.ts';
import { IdentityHolder } from '../../../shared/pki/identity.ts';
import { createKeyAndCsr, createRootCa, rootDigest } from '../../../shared/pki/io/x509.ts';
import { formatJoinToken } from '../../../shared/pki/join-token.ts';
import {
  clusterCredentials,
  clusterRootCredentials,
  localCredentials,
  openChannel,
  serverStream,
  unary,
} from '../../../shared/rpc/io/client.ts';
import { issueIdentity } from '../../support/identity.ts';
import { JOIN_SECRETS, startManager as startAnyManager } from '../../support/manager.ts';
import { fixtureId, nodeFixture, secretFixture, taskFixture } from '../../support/objects.ts';

const CLUSTER = 'c'.repeat(25);
const MANAGER = fixtureId('manager');
const root = createRootCa();

const identityOf = (nodeId: string, role: 'manager' | 'worker') =>
  new IdentityHolder(issueIdentity(root, nodeId, role, CLUSTER));

const startManager = (t: ExecutionContext) =>
  startAnyManager(t, { root, clusterId: CLUSTER, nodeId: MANAGER, leads: true });

/** An agent whose handler keeps what it is told; `until` waits for a fact to be true. */
function startAgent(t: ExecutionContext, nodeId: string, address: string) {
  const tasks = new Set<string>();
  const secrets = new Set<string>();
  const logs: LogSubscriptionChange[] = [];
  const connections: boolean[] = [];
  let revision = 0;
  const handler: SessionHandler = {
    assignments({ changes, complete, revision: at }: Assignments) {
      if (complete) for (const set of [tasks, secrets]) set.clear();
      for (const { key, item } of changes) {
        const [kind = '', id = ''] = key.split('/');
        const set = kind === 'task' ? tasks : kind === 'secret' ? secrets : undefined;
        if (item === undefined) set?.delete(id);
        else set?.add(id);
      }
      revision = at;
    },
    update: () => undefined,
    logs: (change) => logs.push(change),
    connected: (isConnected) => connections.push(isConnected),
  };
  const identity = identityOf(nodeId, 'worker');
  const session = new AgentSession({
    link: grpcManagerLink(identity),
    managers: new ManagerDirectory(nodeId, [{ nodeId: MANAGER, address }], systemRandom),
    handler,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    description: NodeDescription.fromPartial({
      hostname: 'worker-1',
      dataPathAddress: '10.0.0.7',
    }),
    address: '10.0.0.7',
  });
  session.start();
  t.teardown(() => session.close());
  return { session, identity, tasks, secrets, logs, connections, revision: () => revision };
}

/** Waits as long as the machine needs; ava's own limit ends a test that never gets there. */
async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setTimeout(resolve, 5));
}

function channelOf(t: ExecutionContext, ...args: Parameters<typeof openChannel>) {
  const channel = openChannel(...args);
  t.teardown(() => channel.close());
  return channel;
}

test('an assignment arrives with its secret, its status is committed, the node is ready', async (t) => {
  const { store, writer, address } = await startManager(t);
  const nodeId = fixtureId('worker');
  await writer.write([
    createAction('node', nodeFixture({ id: nodeId, status: {}, description: {} })),
    createAction('secret', secretFixture({ id: 'secret1' })),
    createAction('secret', secretFixture({ id: 'secret2' })),
  ]);
  const agent = startAgent(t, nodeId, address);
  await until(() => store.get('node', nodeId)?.status?.state === NodeState.READY);
  t.is(store.get('node', nodeId)?.description?.hostname, 'worker-1');
  t.is(store.get('node', nodeId)?.status?.address, '10.0.0.7');

  const container = { image: 'web:1', secrets: [{ secretId: 'secret1' }] };
  const mine = taskFixture({
    nodeId,
    spec: { container },
    status: { state: TaskState.ASSIGNED },
  });
  const foreign = taskFixture({ nodeId: MANAGER, status: { state: TaskState.ASSIGNED } });
  await writer.write([createAction('task', mine), createAction('task', foreign)]);
  await until(() => agent.tasks.size > 0);
  t.deepEqual([...agent.tasks], [mine.id]);
  t.deepEqual([...agent.secrets], ['secret1']);

  const status = (state: TaskState, message: string) =>
    TaskStatus.fromPartial({ state, message, atMs: Date.now() });
  agent.session.report({ taskId: foreign.id, status: status(TaskState.FAILED, 'forged') });
  agent.session.report({ taskId: mine.id, status: status(TaskState.RUNNING, 'started') });
  await until(() => store.get('task', mine.id)?.status?.state === TaskState.RUNNING);
  t.is(store.get('task', mine.id)?.status?.message, 'started');
  t.is(store.get('task', foreign.id)?.status?.state, TaskState.ASSIGNED, 'not its task');

  agent.session.report({ taskId: mine.id, status: status(TaskState.COMPLETE, 'done') });
  await until(() => agent.secrets.size === 0);
  t.deepEqual(
    [...agent.tasks],
    [mine.id],
    'known as long as it is there, but it needs nothing any more',
  );

  await agent.session.goodbye('leaving');
  await until(() => store.get('node', nodeId)?.status?.state === NodeState.DOWN);
  t.pass();
});

test('a node that is removed loses its session, and gets no other', async (t) => {
  const { writer, address, services } = await startManager(t);
  const nodeId = fixtureId('worker');
  await writer.write([createAction('node', nodeFixture({ id: nodeId }))]);
  const agent = startAgent(t, nodeId, address);
  await until(() => agent.connections.at(-1) === true);
  await writer.write([removeAction('node', nodeId)]);
  await until(() => agent.connections.at(-1) === false);
  await until(() => services.dispatcher.nodes().length === 0);
  const channel = channelOf(t, address, clusterCredentials(agent.identity));
  const error = await t.throwsAsync(() =>
    unary(channel, CertificateAuthorityService.renewNodeCertificate, { csrPem: '' }),
  );
  t.true(isShoalError(error, 'permission-denied'));
  t.regex(messageOf(error), /was removed/);
});

test('a stranger joins with a token and is then a node; without one it can do nothing', async (t) => {
  const { store, address } = await startManager(t);
  const channel = channelOf(t, address, clusterRootCredentials(root.certificatePem));
  const { certificatePem } = await unary(
    channel,
    CertificateAuthorityService.getRootCertificate,
    {},
  );
  t.is(certificatePem, root.certificatePem);
  const { csrPem } = createKeyAndCsr();
  const token = formatJoinToken({
    rootDigest: rootDigest(certificatePem),
    secret: JOIN_SECRETS.workerSecret,
  });
  const issued = await unary(channel, CertificateAuthorityService.issueNodeCertificate, {
    token,
    csrPem,
    availability: 0,
  });
  t.is(issued.role, NodeRole.WORKER);
  t.deepEqual(issued.managers, [{ nodeId: MANAGER, address }]);
  t.truthy(store.get('node', issued.nodeId));
  const error = await t.throwsAsync(() => unary(channel, ControlService.getCluster, {}));
  t.true(isShoalError(error, 'unauthenticated'));
});

test('a worker cannot command the cluster, the local socket can', async (t) => {
  const { writer, address, socket } = await startManager(t);
  const nodeId = fixtureId('worker');
  await writer.write([createAction('node', nodeFixture({ id: nodeId }))]);
  const channel = channelOf(t, address, clusterCredentials(identityOf(nodeId, 'worker')));
  for (const call of [
    () => unary(channel, ControlService.getCluster, {}),
    () => unary(channel, ControlService.remove, { kind: 'node', id: nodeId, force: true }),
    () => unary(channel, PeerService.reportTaskStatuses, { changes: [] }),
    () => serverStream(channel, PeerService.logs, LogSubscription.fromPartial({})).next(),
  ]) {
    const error = await t.throwsAsync<Error>(async () => call());
    t.true(isShoalError(error, 'permission-denied'), messageOf(error));
  }
  const local = channelOf(t, `unix://${socket}`, localCredentials());
  t.is((await unary(local, ControlService.getCluster, {})).cluster?.id, CLUSTER);
  const error = await t.throwsAsync(() =>
    unary(local, PeerService.reportTaskStatuses, { changes: [] }),
  );
  t.true(isShoalError(error, 'permission-denied'));
});

test('logs of a service come from its agent to a client of the local socket', async (t) => {
  const { writer, address, socket } = await startManager(t);
  const nodeId = fixtureId('worker');
  const task = taskFixture({ nodeId, status: { state: TaskState.COMPLETE } });
  await writer.write([
    createAction('node', nodeFixture({ id: nodeId })),
    createAction('task', task),
  ]);
  const agent = startAgent(t, nodeId, address);
  await until(() => agent.connections.at(-1) === true);
  const local = channelOf(t, `unix://${socket}`, localCredentials());
  const since = 1.7e18;
  const stream = serverStream(
    local,
    ControlService.serviceLogs,
    LogSubscription.fromPartial({
      selector: { taskIds: [task.id] },
      options: { stdout: true, tail: 10, sinceNs: since },
    }),
  );
  const first = stream.next();
  await until(() => agent.logs.length > 0);
  const [asked] = agent.logs;
  t.deepEqual(asked?.taskIds, [task.id]);
  t.is(asked?.subscription?.options?.sinceNs, since);
  const lines = async function* () {
    yield LogMessage.fromPartial({ taskId: task.id, stream: 1, data: Buffer.from('hello') });
  };
  const publishing = agent.session.publishLogs(
    asked?.subscription?.id ?? '',
    lines(),
    new AbortController().signal,
  );
  const message = (await first).value;
  t.is(Buffer.from(message?.data ?? '').toString(), 'hello');
  t.is(message?.nodeId, nodeId, 'the manager says who spoke');
  t.true((await stream.next()).done);
  await publishing;
});
