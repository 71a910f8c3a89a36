import test from 'ava';
import { CertificateAuthority } from '../../../manager/ca/authority.ts';
import { localSigner } from '../../../manager/ca/io/signer.ts';
import { updateAction } from '../../../manager/store/tables.ts';
import { isShoalError } from '../../../shared/errors.ts';
import { NodeAvailability, NodeRole, NodeState } from '../../../shared/gen/shoal/v1/objects.ts';
import { silentLog } from '../../../shared/log.ts';
import {
  createKeyAndCsr,
  createRootCa,
  isIssuedByAny,
  parseCertificate,
  rootDigest,
} from '../../../shared/pki/io/x509.ts';
import { formatJoinToken, newJoinSecret } from '../../../shared/pki/join-token.ts';
import { clusterFixture, nodeFixture } from '../../support/objects.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { storeFixture } from '../../support/store.ts';

const HOUR_MS = 3_600_000;

async function authority(options: { nodeCertExpiryNs?: number; workerSecret?: string } = {}) {
  const random = new SeededRandom(3);
  const root = createRootCa();
  const workerSecret = options.workerSecret ?? newJoinSecret(random);
  const managerSecret = newJoinSecret(random);
  const cluster = clusterFixture({
    rootCa: {
      certificatePem: root.certificatePem,
      keyPem: root.keyPem,
      workerSecret,
      managerSecret,
    },
    spec: { name: 'default', nodeCertExpiryNs: options.nodeCertExpiryNs ?? 0 },
  });
  const manager = nodeFixture({ managerStatus: { raftId: '1', address: '10.0.0.1:2377' } });
  const fixture = await storeFixture({ cluster: [cluster], node: [manager] });
  const ca = new CertificateAuthority({ ...fixture, signer: localSigner, log: silentLog });
  const token = (secret: string) =>
    formatJoinToken({ rootDigest: rootDigest(root.certificatePem), secret });
  return { ...fixture, ca, root, cluster, manager, token, workerSecret, managerSecret };
}

for (const role of ['worker', 'manager'] as const) {
  test(`a ${role} token makes a node of that role`, async (t) => {
    const the = await authority();
    const { csrPem } = createKeyAndCsr();
    const secret = role === 'worker' ? the.workerSecret : the.managerSecret;
    const answer = await the.ca.issue({
      token: the.token(secret),
      csrPem,
      availability: NodeAvailability.DRAIN,
    });
    const expected = role === 'worker' ? NodeRole.WORKER : NodeRole.MANAGER;
    t.like(answer, {
      role: expected,
      clusterId: the.cluster.id,
      rootCaPem: the.root.certificatePem,
      managers: [{ nodeId: the.manager.id, address: '10.0.0.1:2377' }],
    });
    t.like(the.store.get('node', answer.nodeId), {
      spec: { role: expected, availability: NodeAvailability.DRAIN },
      status: { state: NodeState.UNKNOWN },
      certificateRole: expected,
    });
    const now = the.clock.now();
    t.like(parseCertificate(answer.certificatePem), {
      nodeId: answer.nodeId,
      role,
      clusterId: the.cluster.id,
      notBeforeMs: now - HOUR_MS,
      notAfterMs: now + 90 * 24 * HOUR_MS,
    });
    t.true(isIssuedByAny(answer.certificatePem, the.root.certificatePem));
  });
}

const REFUSED: readonly [string, (token: string, other: string) => string, string, RegExp][] = [
  ['that is empty', () => '', 'invalid-argument', /not a join token/],
  ['that is cut short', (token) => token.slice(0, -1), 'invalid-argument', /not a join token/],
  ['in capitals', (token) => token.toUpperCase(), 'invalid-argument', /not a join token/],
  ['of another cluster', (_, other) => other, 'permission-denied', /another cluster/],
  [
    'that was rotated away',
    (token) => token.slice(0, -3) + (token.endsWith('000') ? '111' : '000'),
    'permission-denied',
    /no longer valid/,
  ],
];
for (const [what, forge, code, message] of REFUSED) {
  test(`a token ${what} is refused with ${code}, and no node is made`, async (t) => {
    const [the, another] = [await authority(), await authority()];
    const good = the.token(the.workerSecret);
    const token = forge(good, another.token(the.workerSecret));
    const { csrPem } = createKeyAndCsr();
    const error = await t.throwsAsync(() => the.ca.issue({ token, csrPem, availability: 0 }));
    t.true(isShoalError(error) && error.code === code);
    t.regex(error?.message ?? '', message);
    t.false(error?.message.includes(the.workerSecret), 'the secret is not told');
    t.is(the.store.count('node'), 1);
  });
}

test('a rotated token lets nobody in any more, the new one does', async (t) => {
  const the = await authority();
  const before = the.store.cluster();
  if (before?.rootCa === undefined) throw new Error('no cluster');
  const workerSecret = newJoinSecret(new SeededRandom(99));
  await the.writer.write([
    updateAction('cluster', { ...before, rootCa: { ...before.rootCa, workerSecret } }),
  ]);
  const { csrPem } = createKeyAndCsr();
  const join = (secret: string) =>
    the.ca.issue({ token: the.token(secret), csrPem, availability: 0 });
  await t.throwsAsync(() => join(the.workerSecret), { message: /no longer valid/ });
  t.is((await join(workerSecret)).role, NodeRole.WORKER);
});

test('an empty secret in the store matches no token', async (t) => {
  const the = await authority({ workerSecret: '' });
  const { csrPem } = createKeyAndCsr();
  const token = the.token('0'.repeat(25));
  await t.throwsAsync(() => the.ca.issue({ token, csrPem, availability: 0 }), {
    message: /no longer valid/,
  });
});

test('a request that proves no key is refused, and no node is made', async (t) => {
  const the = await authority();
  const token = the.token(the.workerSecret);
  const error = await t.throwsAsync(() =>
    the.ca.issue({ token, csrPem: 'nonsense', availability: 0 }),
  );
  t.true(isShoalError(error, 'invalid-argument'));
  t.is(the.store.count('node'), 1);
});

test('a certificate lives as long as the cluster says, an hour at least', async (t) => {
  for (const [hours, lives] of [
    [48, 48],
    [0.01, 1],
  ] as const) {
    const the = await authority({ nodeCertExpiryNs: hours * HOUR_MS * 1e6 });
    const answer = await the.ca.renew(the.manager.id, createKeyAndCsr().csrPem);
    t.is(parseCertificate(answer.certificatePem).notAfterMs, the.clock.now() + lives * HOUR_MS);
  }
});

test('a renewed certificate has the role that the store holds, and the store learns of it', async (t) => {
  const the = await authority();
  const node = the.store.get('node', the.manager.id);
  if (node?.spec === undefined) throw new Error('no node');
  await the.writer.write([
    updateAction('node', { ...node, spec: { ...node.spec, role: NodeRole.MANAGER } }),
  ]);
  const answer = await the.ca.renew(node.id, createKeyAndCsr().csrPem);
  t.is(answer.role, NodeRole.MANAGER);
  t.is(parseCertificate(answer.certificatePem).role, 'manager');
  t.is(the.store.get('node', node.id)?.certificateRole, NodeRole.MANAGER);
  t.is(
    the.store.get('node', node.id)?.certificateKeyDigest,
    localSigner.keyDigest(answer.certificatePem),
    'the key it may come back by',
  );
});

test('a node that was removed gets no certificate', async (t) => {
  const the = await authority();
  const error = await t.throwsAsync(() => the.ca.renew('gone', createKeyAndCsr().csrPem));
  t.true(isShoalError(error, 'permission-denied'));
  t.regex(error?.message ?? '', /removed/);
});
