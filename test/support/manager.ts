// A manager's services on real listeners: mutual TLS on loopback and a unix socket. The store is real,
// consensus is a group of one in memory.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { localRoots } from '../../manager/ca/io/roots.ts';
import { Control } from '../../manager/control/control.ts';
import { createManagerServices } from '../../manager/rpc/io/services.ts';
import { Store } from '../../manager/store/store.ts';
import { createAction } from '../../manager/store/tables.ts';
import { StoreWriter } from '../../manager/store/writer.ts';
import { NodeRole } from '../../shared/gen/shoal/v1/objects.ts';
import { systemClock, systemRandom } from '../../shared/io/system.ts';
import { silentLog } from '../../shared/log.ts';
import { IdentityHolder } from '../../shared/pki/identity.ts';
import { type KeyAndCertificate, rootDigest } from '../../shared/pki/io/x509.ts';
import { RpcServer } from '../../shared/rpc/io/server.ts';
import { issueIdentity } from './identity.ts';
import { clusterFixture, nodeFixture } from './objects.ts';
import { InMemoryConsensus } from './store.ts';

export const JOIN_SECRETS = { workerSecret: 'w'.repeat(25), managerSecret: 'm'.repeat(25) };

export type StartManager = Readonly<{
  root: KeyAndCertificate;
  clusterId: string;
  nodeId: string;
  /** Runs the leader's loops as well. */
  leads?: boolean;
}>;

/** The cluster has this one node. Ends with the test. */
export async function startManager(
  t: Pick<ExecutionContext, 'teardown'>,
  { root, clusterId, nodeId, leads = false }: StartManager,
) {
  const store = new Store();
  const consensus = new InMemoryConsensus(store);
  const deps = { store, consensus, clock: systemClock, random: systemRandom, log: silentLog };
  const writer = new StoreWriter(deps);
  const identity = new IdentityHolder(issueIdentity(root, nodeId, 'manager', clusterId));
  const control = new Control({ ...deps, writer, rootDigest, roots: localRoots });
  const tlsKeys = async function* () {
    yield undefined;
  };
  const services = createManagerServices({ ...deps, writer, identity, control, tlsKeys });
  const server = new RpcServer({ identity });
  services.register(server);
  const folder = await mkdtemp(join(tmpdir(), 'shoal-manager-'));
  const socket = join(folder, 'manager.sock');
  await server.listenLocal(socket);
  const address = `127.0.0.1:${await server.listen('127.0.0.1:0')}`;
  const rootCa = {
    certificatePem: root.certificatePem,
    keyPem: root.keyPem,
    ...JOIN_SECRETS,
  };
  const node = nodeFixture({
    id: nodeId,
    spec: { role: NodeRole.MANAGER },
    managerStatus: { raftId: '1', address },
  });
  await writer.write([
    createAction('cluster', clusterFixture({ id: clusterId, rootCa })),
    createAction('node', node),
  ]);
  const stop = new AbortController();
  const loops = services.leaderLoops
    .filter(({ name }) => leads && name !== 'members') // the fake has no members to look after
    .map(({ run }) => run(stop.signal));
  const running = [services.run(stop.signal), ...loops];
  t.teardown(async () => {
    stop.abort();
    await Promise.all(running);
    await server.close(200);
    await rm(folder, { recursive: true });
  });
  return { store, writer, consensus, services, address, socket, identity };
}
