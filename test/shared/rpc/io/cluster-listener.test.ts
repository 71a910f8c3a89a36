import { once } from 'node:events';
import { connect } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { isShoalError } from '../../../../shared/errors.ts';
import { IdentityHolder, type TlsIdentity } from '../../../../shared/pki/identity.ts';
import { createRootCa } from '../../../../shared/pki/io/x509.ts';
import type { CertificateRole } from '../../../../shared/pki/roles.ts';
import { clusterCredentials, openChannel, unary } from '../../../../shared/rpc/io/client.ts';
import { clusterLink, parseTarget } from '../../../../shared/rpc/io/cluster-listener.ts';
import { handleUnary, RpcServer } from '../../../../shared/rpc/io/server.ts';
import { issueIdentity } from '../../../support/identity.ts';
import { textMethod } from '../../../support/text-method.ts';

const whoAmI = textMethod('/test.Who/AmI');

const ca = createRootCa();

/** Trusts `ca`, whoever signed it. */
function identityOf(
  nodeId: string,
  role: CertificateRole,
  options: { clusterId?: string; issuer?: typeof ca; nowMs?: number } = {},
): TlsIdentity {
  const { clusterId, issuer = ca, ...validity } = options;
  return {
    ...issueIdentity(issuer, nodeId, role, clusterId, validity),
    rootsPem: ca.certificatePem,
  };
}

async function serve(t: ExecutionContext, identity: TlsIdentity) {
  const holder = new IdentityHolder(identity);
  const server = new RpcServer({ identity: holder });
  server.serve(
    { whoAmI },
    { whoAmI: handleUnary((_request: string, { caller }) => JSON.stringify(caller ?? null)) },
  );
  const port = await server.listen('127.0.0.1:0');
  t.teardown(() => server.close(0));
  return { server, holder, address: `127.0.0.1:${port}` };
}

function linkTo(t: ExecutionContext, address: string, identity: TlsIdentity) {
  const link = clusterLink(address, new IdentityHolder(identity));
  t.teardown(() => link.close());
  return link;
}

test('links and gRPC share an address, and both know the caller by the certificate', async (t) => {
  const { address } = await serve(t, identityOf('server', 'manager'));
  const manager = identityOf('m1', 'manager');
  const caller = { nodeId: 'm1', role: 'manager', clusterId: 'cluster1', local: false };
  const link = linkTo(t, address, manager);
  t.deepEqual(JSON.parse(await link.unary(whoAmI, '')), caller);
  const channel = openChannel(address, clusterCredentials(new IdentityHolder(manager)));
  t.teardown(() => channel.close());
  t.deepEqual(JSON.parse(await unary(channel, whoAmI, 'x')), caller);
  const worker = linkTo(t, address, identityOf('w1', 'worker'));
  t.like(JSON.parse(await worker.unary(whoAmI, '')), { nodeId: 'w1', role: 'worker' });
});

test('who connects and begins no handshake is let go', async (t) => {
  const { address } = await serve(t, identityOf('server', 'manager'));
  const silent = connect(Number(address.split(':')[1]), '127.0.0.1').resume();
  t.teardown(() => silent.destroy());
  await once(silent, 'close');
  t.pass();
});

test('a certificate of another root, or one that has expired, speaks for nobody', async (t) => {
  const { address } = await serve(t, identityOf('server', 'manager'));
  const stranger = identityOf('m1', 'manager', { issuer: createRootCa() });
  t.is(await linkTo(t, address, stranger).unary(whoAmI, ''), 'null');
  const expired = identityOf('m1', 'manager', { nowMs: Date.now() - 10 * 3_600_000 });
  t.is(await linkTo(t, address, expired).unary(whoAmI, ''), 'null');
});

test('a link is not made to who is no manager of the cluster; nothing was sent then', async (t) => {
  const own = identityOf('m1', 'manager');
  const servers = [
    identityOf('w2', 'worker'),
    identityOf('m2', 'manager', { clusterId: 'cluster2' }),
    identityOf('m2', 'manager', { issuer: createRootCa() }),
  ];
  for (const identity of servers) {
    const { address } = await serve(t, identity);
    const error = await t.throwsAsync(linkTo(t, address, own).unary(whoAmI, '', { mutates: true }));
    t.true(isShoalError(error, 'unavailable'), error?.message);
  }
});

test('a renewed certificate is shown to new connections', async (t) => {
  const { address, holder } = await serve(t, identityOf('old', 'worker'));
  const link = linkTo(t, address, identityOf('m1', 'manager'));
  await t.throwsAsync(link.unary(whoAmI, ''));
  holder.replace(identityOf('new', 'manager'));
  t.like(JSON.parse(await link.unary(whoAmI, '')), { nodeId: 'm1' });
});

test('an address that is taken is a reason not to start', async (t) => {
  const { address } = await serve(t, identityOf('server', 'manager'));
  const other = new RpcServer({ identity: new IdentityHolder(identityOf('other', 'manager')) });
  const error = await t.throwsAsync(other.listen(address));
  t.true(isShoalError(error, 'failed-precondition'), error?.message);
  await other.close(0);
});

test('addresses are taken apart', (t) => {
  t.deepEqual(parseTarget('10.0.0.1:2377'), { host: '10.0.0.1', port: 2377 });
  t.deepEqual(parseTarget('[fd00::1]:2377'), { host: 'fd00::1', port: 2377 });
  for (const bad of ['host', ':1', 'host:x', 'host:70000']) t.throws(() => parseTarget(bad));
});
