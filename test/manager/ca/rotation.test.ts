import { connect, createServer, type TLSSocket } from 'node:tls';
import test from 'ava';
import { localRoots } from '../../../manager/ca/io/roots.ts';
import { runRootRotation, waitingFor } from '../../../manager/ca/rotation.ts';
import {
  beginRotation,
  chainPem,
  finishRotation,
  signingRoot,
  trustedRootsPem,
} from '../../../manager/ca/trust.ts';
import { createAction, updateAction } from '../../../manager/store/tables.ts';
import { NodeDescription, NodeState, RootCa } from '../../../shared/gen/shoal/v1/objects.ts';
import { silentLog } from '../../../shared/log.ts';
import { checkRoot } from '../../../shared/pki/io/trust.ts';
import {
  createKeyAndCsr,
  createRootCa,
  type KeyAndCertificate,
  rootDigest,
  signCsr,
} from '../../../shared/pki/io/x509.ts';
import { settle } from '../../support/manual-clock.ts';
import { clusterFixture, nodeFixture } from '../../support/objects.ts';
import { storeFixture } from '../../support/store.ts';

const nowMs = Date.now();

function rotated(root: RootCa): RootCa {
  const next = createRootCa();
  const crossSigned = localRoots.crossSign(next.certificatePem, root, nowMs);
  return beginRotation(root, next, crossSigned);
}

/** A node certificate as the authority gives it, with what follows it in a handshake. */
function issue(root: RootCa) {
  const { keyPem, csrPem } = createKeyAndCsr();
  const ca: KeyAndCertificate = signingRoot(root);
  const leaf = signCsr({
    csrPem,
    caCertificatePem: ca.certificatePem,
    caKeyPem: ca.keyPem,
    nodeId: 'n',
    role: 'manager',
    clusterId: 'c',
    validityMs: 3_600_000,
  });
  return { key: keyPem, cert: leaf + chainPem(root, nowMs) };
}

/** Whether mutual TLS 1.3 comes about; the error of the side that refused otherwise. */
async function handshake(
  server: { key: string; cert: string; ca: string },
  client: { key: string; cert: string; ca: string },
): Promise<string> {
  const options = { minVersion: 'TLSv1.3', requestCert: true, rejectUnauthorized: true } as const;
  const verdict = Promise.withResolvers<string>();
  const listener = createServer({ ...options, ...server }, (socket) => {
    verdict.resolve('ok');
    socket.end();
  });
  listener.on('tlsClientError', (error) => verdict.resolve(`server: ${error.message}`));
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const { port } = listener.address() as { port: number };
  const socket: TLSSocket = connect({
    host: '127.0.0.1',
    port,
    checkServerIdentity: () => undefined,
    ...client,
  });
  socket.on('error', (error) => verdict.resolve(`client: ${error.message}`));
  const result = await verdict.promise;
  socket.destroy();
  listener.close();
  return result;
}

test('before, during and after a rotation nodes of both roots talk to each other; afterwards only new ones', async (t) => {
  const before = RootCa.fromPartial(createRootCa());
  const during = rotated(before);
  const after = finishRotation(during, nowMs);
  const old = { ...issue(before), ca: trustedRootsPem(before) };
  const told = { ...issue(before), ca: trustedRootsPem(during) };
  const renewed = { ...issue(during), ca: trustedRootsPem(during) };
  const done = { ...issue(during), ca: trustedRootsPem(after) };
  for (const [a, b] of [
    [old, told],
    [old, renewed], // by the cross-signed certificate
    [told, renewed],
    [renewed, renewed],
    [renewed, done],
    [done, done],
  ] as const) {
    t.is(await handshake(a, b), 'ok');
    t.is(await handshake(b, a), 'ok');
  }
  t.regex(await handshake(done, old), /^server: /);
  t.regex(await handshake(old, done), /^client: /);
});

test('a node that slept through two rotations still believes a manager, and not another cluster', async (t) => {
  const first = RootCa.fromPartial(createRootCa());
  const third = finishRotation(rotated(finishRotation(rotated(first), nowMs)), nowMs);
  const sleeper = { ...issue(first), ca: trustedRootsPem(first) };
  // The manager does not ask for a certificate here: the sleeper proves itself in the call.
  const manager = { ...issue(third), ca: trustedRootsPem(third) + first.certificatePem };
  t.is(await handshake(manager, sleeper), 'ok');
  const stranger = { ...issue(rotated(RootCa.fromPartial(createRootCa()))), ca: manager.ca };
  t.regex(await handshake(stranger, sleeper), /^client: /);
});

test('former roots are few, the newest first, and forgotten after a year', (t) => {
  let root = RootCa.fromPartial(createRootCa());
  const dropped: string[] = [];
  for (let i = 0; i < 6; i++) {
    dropped.unshift(root.certificatePem);
    root = finishRotation(rotated(root), nowMs);
  }
  t.deepEqual(
    root.former.map(({ certificatePem }) => certificatePem),
    dropped.slice(0, 4),
  );
  t.is(chainPem(root, nowMs + 366 * 24 * 3_600_000), '');
  t.is(finishRotation(root, nowMs), root, 'without a rotation nothing is finished');
});

const tls = (issuer: string, ...roots: string[]) =>
  NodeDescription.fromPartial({
    tls: { issuerDigest: issuer, rootDigests: roots, keyDigest: '' },
  });

test('a rotation waits for the nodes that are up, and for no others', (t) => {
  const up = { state: NodeState.READY };
  const nodes = [
    nodeFixture({ id: 'done', status: up, description: tls('new', 'old', 'new') }),
    nodeFixture({ id: 'old', status: up, description: tls('old', 'old', 'new') }),
    nodeFixture({ id: 'untrusting', status: up, description: tls('new', 'old') }),
    nodeFixture({ id: 'silent', status: up, description: {} }),
    nodeFixture({ id: 'down', status: { state: NodeState.DOWN }, description: tls('old', 'old') }),
  ];
  t.deepEqual(waitingFor(nodes, 'new'), ['old', 'untrusting', 'silent']);
});

test('the leader drops the old root when the last node has followed, and a moment has passed', async (t) => {
  const root = rotated(RootCa.fromPartial({ ...createRootCa(), workerSecret: 'w' }));
  const nextPem = root.rotation?.certificatePem ?? '';
  const digest = rootDigest(nextPem);
  const node = nodeFixture({ status: { state: NodeState.READY }, description: tls('old', 'old') });
  const fixture = await storeFixture({ cluster: [clusterFixture({ rootCa: root })], node: [node] });
  const { store, writer, clock } = fixture;
  const end = new AbortController();
  const loop = runRootRotation({ ...fixture, log: silentLog }, rootDigest, end.signal);
  const isRotating = () => store.cluster()?.rootCa?.rotation !== undefined;
  await clock.advance(60_000);
  t.true(isRotating(), 'a node has not followed');
  const stored = store.get('node', node.id);
  if (stored === undefined) throw new Error('no node');
  await writer.write([updateAction('node', { ...stored, description: tls(digest, digest) })]);
  await settle();
  await clock.advance(2_000);
  t.true(isRotating(), 'managers take up their certificates');
  const late = nodeFixture({ status: { state: NodeState.READY }, description: tls('old', 'old') });
  await writer.write([createAction('node', late)]);
  await clock.advance(60_000);
  t.true(isRotating(), 'another node came up');
  const lost = store.get('node', late.id);
  if (lost === undefined) throw new Error('no node');
  await writer.write([updateAction('node', { ...lost, status: { ...DOWN } })]);
  await clock.advance(10_000);
  t.false(isRotating());
  t.like(store.cluster()?.rootCa, { certificatePem: nextPem, workerSecret: 'w' });
  end.abort(new Error('over'));
  await loop;
});

const DOWN = { state: NodeState.DOWN, message: '', address: '' };

test('a root that is given must be one, with its key, for a year at least', (t) => {
  const [one, other] = [createRootCa(), createRootCa()];
  t.notThrows(() => checkRoot(one.certificatePem, one.keyPem, nowMs));
  const leaf = issue(RootCa.fromPartial(one));
  for (const [certificate, key, message] of [
    ['nothing', one.keyPem, /cannot be used/],
    [one.certificatePem, other.keyPem, /the key is not the one/],
    [one.certificatePem + other.certificatePem, one.keyPem, /a single root/],
    [leaf.cert, leaf.key, /not a self-signed certificate of an authority/],
  ] as const) {
    t.throws(() => checkRoot(certificate, key, nowMs), { message });
  }
  const aged = nowMs + 19.5 * 365 * 24 * 3_600_000;
  t.throws(() => checkRoot(one.certificatePem, one.keyPem, aged), { message: /less than a year/ });
});
