import test from 'ava';
import { networkServicesJson } from '../../../../agent/engine/json/network-services.ts';
import { NodeState } from '../../../../shared/gen/shoal/v1/objects.ts';
import { nodeFixture, serviceFixture, taskFixture } from '../../../support/objects.ts';

test('a verbose look at a network shows its services, their tasks’ addresses and the hosts', (t) => {
  const node = (id: string, address: string) =>
    nodeFixture({ id, status: { state: NodeState.READY, address } });
  const service = serviceFixture({
    id: 's1',
    spec: { name: 'web' },
    endpoint: { virtualIps: [{ networkId: 'net', address: '10.0.1.2/24' }] },
  });
  const task = (id: string, slot: number, nodeId: string, networkId = 'net') =>
    taskFixture({
      id,
      slot,
      nodeId,
      serviceId: 's1',
      serviceName: 'web',
      networks: [{ networkId, addresses: [`10.0.1.1${slot}/24`] }],
    });
  const shown = networkServicesJson('net', {
    services: [service, serviceFixture({ id: 's2', spec: { name: 'idle' } })],
    tasks: [task('t1', 1, 'n1'), task('t2', 2, 'n2'), task('t3', 3, 'n3', 'other')],
    nodes: [node('n1', '192.0.2.1'), node('n2', '192.0.2.2'), node('n3', '192.0.2.3')],
  });
  t.deepEqual(shown.Peers, [
    { Name: 'n1', IP: '192.0.2.1' },
    { Name: 'n2', IP: '192.0.2.2' },
  ]);
  t.deepEqual(shown.Services, {
    web: {
      VIP: '10.0.1.2',
      Ports: [],
      LocalLBIndex: 0,
      Tasks: [
        {
          Name: 'web.1.t1',
          EndpointID: 't1',
          EndpointIP: '10.0.1.11',
          Info: { 'Host IP': '192.0.2.1' },
        },
        {
          Name: 'web.2.t2',
          EndpointID: 't2',
          EndpointIP: '10.0.1.12',
          Info: { 'Host IP': '192.0.2.2' },
        },
      ],
    },
    idle: { VIP: '', Ports: [], LocalLBIndex: 0, Tasks: [] },
  });
});
