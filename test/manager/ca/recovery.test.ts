// A node that was off while its certificate expired or its root was dropped.
import test from 'ava';
import { CertificateAuthority } from '../../../manager/ca/authority.ts';
import { localSigner } from '../../../manager/ca/io/signer.ts';
import { beginRotation, finishRotation } from '../../../manager/ca/trust.ts';
import { createAction, removeAction, updateAction } from '../../../manager/store/tables.ts';
import { type ErrorCode, isShoalError } from '../../../shared/errors.ts';
import { NodeRole, RootCa } from '../../../shared/gen/shoal/v1/objects.ts';
import { silentLog } from '../../../shared/log.ts';
import { keyDigest, signRecovery } from '../../../shared/pki/io/trust.ts';
import {
  createIdentity,
  createKeyAndCsr,
  createRootCa,
  crossSign,
  isIssuedByAny,
  type KeyAndCertificate,
  signCsr,
} from '../../../shared/pki/io/x509.ts';
import { clusterFixture, nodeFixture } from '../../support/objects.ts';
import { storeFixture } from '../../support/store.ts';

const DAY_MS = 24 * 3_600_000;
const YEAR_MS = 365 * DAY_MS;

async function setUp() {
  const fixture = await storeFixture({});
  const nowMs = fixture.clock.now();
  const [old, next] = [
    createRootCa('swarm-ca', nowMs - YEAR_MS),
    createRootCa('swarm-ca', nowMs - YEAR_MS),
  ];
  const node = nodeFixture({ spec: { role: NodeRole.WORKER } });
  const cluster = clusterFixture({ rootCa: RootCa.fromPartial(old) });
  const { keyPem, csrPem } = createKeyAndCsr();
  const issue = (ca: KeyAndCertificate, some: { csrPem?: string; clusterId?: string } = {}) =>
    signCsr({
      csrPem: some.csrPem ?? csrPem,
      caCertificatePem: ca.certificatePem,
      caKeyPem: ca.keyPem,
      nodeId: node.id,
      role: 'worker',
      clusterId: some.clusterId ?? cluster.id,
      validityMs: DAY_MS,
      nowMs: nowMs - 40 * DAY_MS, // expired for 39 days
    });
  const certificatePem = issue(old);
  await fixture.writer.write([
    createAction('cluster', cluster),
    createAction('node', { ...node, certificateKeyDigest: keyDigest(certificatePem) }),
  ]);
  const ca = new CertificateAuthority({ ...fixture, signer: localSigner, log: silentLog });
  const request = (certificate = certificatePem, key = keyPem, root = old) => {
    const { csrPem: csr } = createKeyAndCsr();
    const identity = createIdentity(certificate, key, root.certificatePem);
    return { csrPem: csr, certificatePem: certificate, signature: signRecovery(csr, identity) };
  };
  const rotate = async (atMs = nowMs) => {
    const stored = fixture.store.cluster();
    if (stored?.rootCa === undefined) throw new Error('no cluster');
    const rootCa = finishRotation(
      beginRotation(stored.rootCa, next, crossSign(next.certificatePem, old, nowMs)),
      atMs,
    );
    await fixture.writer.write([updateAction('cluster', { ...stored, rootCa })]);
  };
  return { ...fixture, ca, node, old, next, issue, keyPem, request, rotate };
}

test('a node whose certificate expired gets the next one by its key', async (t) => {
  const { ca, node, old, request } = await setUp();
  const answer = await ca.recover(request());
  t.is(answer.nodeId, node.id);
  t.true(isIssuedByAny(answer.certificatePem, old.certificatePem));
});

test('a node that was off during a whole rotation comes back with a certificate of the new root', async (t) => {
  const { ca, next, request, rotate } = await setUp();
  await rotate();
  const answer = await ca.recover(request());
  t.is(answer.rootCaPem, next.certificatePem);
  t.true(isIssuedByAny(answer.certificatePem, next.certificatePem));
});

test('a node counts by the key it said it uses when the answer with a newer one was lost', async (t) => {
  const { ca, store, writer, node, request } = await setUp();
  const stored = store.get('node', node.id);
  if (stored?.description === undefined) throw new Error('no node');
  const { certificateKeyDigest: digest } = stored;
  const tls = { issuerDigest: '', rootDigests: [], keyDigest: digest };
  const description = { ...stored.description, tls };
  await writer.write([updateAction('node', { ...stored, description })]);
  await ca.renew(node.id, createKeyAndCsr().csrPem); // never arrives
  await t.notThrowsAsync(ca.recover(request()));
});

type The = Awaited<ReturnType<typeof setUp>>;
const refused: readonly [string, ErrorCode, (the: The) => unknown][] = [
  ['a certificate of another cluster’s root', 'unauthenticated', foreign],
  ['a certificate that names another cluster', 'unauthenticated', otherCluster],
  ['a certificate made with the signing key of the former root', 'unauthenticated', forged],
  ['a signature by another key', 'unauthenticated', (the) => signedByOther(the)],
  ['no signature', 'unauthenticated', (the) => ({ ...the.request(), signature: Buffer.of() })],
  ['the signature of another request', 'unauthenticated', replayed],
  ['a certificate that was renewed since', 'unauthenticated', superseded],
  ['a certificate of a root that was dropped too long ago', 'unauthenticated', tooLate],
  ['the certificate of a removed node', 'permission-denied', removed],
  ['bytes that are no certificate', 'invalid-argument', garbage],
];

function foreign({ issue, keyPem, request }: The) {
  const other = createRootCa();
  return request(issue(other), keyPem, other);
}
function otherCluster({ issue, keyPem, old, request }: The) {
  return request(issue(old, { clusterId: 'other' }), keyPem, old);
}
async function forged({ issue, old, request, rotate }: The) {
  await rotate();
  const { keyPem, csrPem } = createKeyAndCsr();
  return request(issue(old, { csrPem }), keyPem, old);
}
function signedByOther({ issue, old, request }: The) {
  const { keyPem, csrPem } = createKeyAndCsr();
  const { signature } = request(issue(old, { csrPem }), keyPem, old);
  return { ...request(), signature };
}
function replayed({ request }: The) {
  return { ...request(), csrPem: createKeyAndCsr().csrPem };
}
async function superseded({ ca, node, request }: The) {
  await ca.renew(node.id, createKeyAndCsr().csrPem);
  return request();
}
async function tooLate({ clock, request, rotate }: The) {
  await rotate(clock.now() - YEAR_MS - 1);
  return request();
}
async function removed({ writer, node, request }: The) {
  await writer.write([removeAction('node', node.id)]);
  return request();
}
function garbage({ request }: The) {
  return { ...request(), certificatePem: 'nothing' };
}

for (const [what, code, make] of refused) {
  test(`${what} brings no node back`, async (t) => {
    const the = await setUp();
    const request = (await make(the)) as Parameters<The['ca']['recover']>[0];
    const error = await t.throwsAsync(the.ca.recover(request));
    t.true(isShoalError(error, code), `${error?.message}`);
  });
}
