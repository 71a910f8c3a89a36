// What hosts measure, from an agent's session and from another manager, over real mutual TLS to the leader and back to who
// asks. The store is real, consensus is a group of one in memory.
import test from 'ava';
import { grpcManagerLink } from '../../../agent/session/io/manager-link.ts';
import { ManagerDirectory } from '../../../agent/session/managers.ts';
import { AgentSession } from '../../../agent/session/session.ts';
import { createAction } from '../../../manager/store/tables.ts';
import { isShoalError } from '../../../shared/errors.ts';
import type { TaskSample } from '../../../shared/gen/shoal/v1/autoscale.ts';
import { ControlService } from '../../../shared/gen/shoal/v1/control.ts';
import { NodeDescription, NodeRole, TaskState } from '../../../shared/gen/shoal/v1/objects.ts';
import { PeerService } from '../../../shared/gen/shoal/v1/peer.ts';
import { systemClock, systemRandom } from '../../../shared/io/system.ts';
import { silentLog } from '../../../shared/log.ts';
import { IdentityHolder } from '../../../shared/pki/identity.ts';
import { createRootCa } from '../../../shared/pki/io/x509.ts';
import {
  clusterCredentials,
  localCredentials,
  openChannel,
  unary,
} from '../../../shared/rpc/io/client.ts';
import { issueIdentity } from '../../support/identity.ts';
import { startManager } from '../../support/manager.ts';
import {
  fixtureId,
  nodeFixture,
  serviceFixture,
  taskOf,
  taskSpecFixture,
} from '../../support/objects.ts';

const CLUSTER = 'c'.repeat(25);

test('what agents and other managers measured is told with the decision that was made of it', async (t) => {
  const root = createRootCa();
  const managerId = fixtureId('manager');
  const { writer, address, socket } = await startManager(t, {
    root,
    clusterId: CLUSTER,
    nodeId: managerId,
    leads: true,
  });
  const [near, far, otherManager] = [fixtureId('near'), fixtureId('far'), fixtureId('other')];
  const service = serviceFixture({
    spec: {
      name: 'web',
      mode: { $case: 'replicated', value: { replicas: 2 } },
      task: taskSpecFixture({ resources: { reservations: { nanoCpus: 1e9 } } }),
      autoscale: { max: 4, warmupNs: 0 },
    },
  });
  const status = { state: TaskState.RUNNING, healthy: true };
  const tasks = [near, far].map((nodeId, i) => taskOf(service, { slot: i + 1, nodeId, status }));
  await writer.write([
    createAction('node', nodeFixture({ id: near })),
    createAction('node', nodeFixture({ id: far })),
    createAction('node', nodeFixture({ id: otherManager, spec: { role: NodeRole.MANAGER } })),
    createAction('service', service),
    ...tasks.map((task) => createAction('task', task)),
  ]);
  const identityOf = (nodeId: string, role: 'manager' | 'worker') =>
    new IdentityHolder(issueIdentity(root, nodeId, role, CLUSTER));

  const workerIdentity = identityOf(near, 'worker');
  let isTold = false;
  const session = new AgentSession({
    link: grpcManagerLink(workerIdentity),
    managers: new ManagerDirectory(near, [{ nodeId: managerId, address }], systemRandom),
    handler: {
      assignments: ({ changes }) => {
        isTold ||= changes.some(({ key, item }) => key === `sampling/${service.id}` && item);
      },
      update: () => undefined,
      logs: () => undefined,
      connected: () => undefined,
    },
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    description: NodeDescription.fromPartial({ hostname: 'near', dataPathAddress: '10.0.0.7' }),
    address: '10.0.0.7',
  });
  session.start();
  t.teardown(() => session.close());
  while (!isTold) await new Promise((resolve) => setTimeout(resolve, 5));

  const peer = openChannel(address, clusterCredentials(identityOf(otherManager, 'manager')));
  const worker = openChannel(address, clusterCredentials(workerIdentity));
  const local = openChannel(`unix://${socket}`, localCredentials());
  for (const channel of [peer, worker, local]) t.teardown(() => channel.close());
  const sample = (index: number, cpuCores: number): TaskSample => {
    const taskId = tasks[index]?.id ?? '';
    return { taskId, serviceId: service.id, windowMs: 100, cpuCores };
  };
  const batch = (of: TaskSample) => ({
    nodes: [{ nodeId: far, ageMs: 20, samples: { samples: [of], knocks: [] } }],
  });
  const refused = await t.throwsAsync(
    unary(worker, PeerService.reportSamples, batch(sample(1, 9))),
  );
  t.true(isShoalError(refused, 'permission-denied'));

  const request = { services: ['web'], records: true, replay: false };
  for (;;) {
    session.sample({ samples: [sample(0, 0.6)], knocks: [] });
    await unary(peer, PeerService.reportSamples, batch(sample(1, 0.8)));
    const { services } = await unary(local, ControlService.getAutoscaling, request);
    const [told] = services;
    t.is(told?.readyTasks, 2);
    const [reading] = told?.last?.metrics ?? [];
    if (reading?.counted === 2) {
      t.is(told?.replicas, 2);
      t.true(Math.abs((reading.value ?? 0) - 0.7) < 0.05, JSON.stringify(reading));
      break;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
});
