import { X509Certificate } from 'node:crypto';
import test from 'ava';
import { isShoalError } from '../../../shared/errors.ts';
import { systemRandom } from '../../../shared/io/system.ts';
import {
  createIdentity,
  createKeyAndCsr,
  createRootCa,
  isIssuedByAny,
  parseCertificate,
  rootDigest,
  signCsr,
} from '../../../shared/pki/io/x509.ts';
import {
  digestToken,
  formatJoinToken,
  newJoinSecret,
  parseJoinToken,
  sameSecret,
} from '../../../shared/pki/join-token.ts';
import { fromPem, toPem } from '../../../shared/pki/pem.ts';

const YEAR_MS = 365 * 86_400_000;
const HOUR_MS = 3_600_000;

function issue(role: 'manager' | 'worker' = 'worker', ca = createRootCa()) {
  const { keyPem, csrPem } = createKeyAndCsr();
  const certificatePem = signCsr({
    csrPem,
    caCertificatePem: ca.certificatePem,
    caKeyPem: ca.keyPem,
    nodeId: 'node1',
    role,
    clusterId: 'cluster1',
    validityMs: 90 * 86_400_000,
  });
  return { ca, keyPem, csrPem, certificatePem };
}

test('createRootCa() makes a self-signed authority named swarm-ca that is valid for 20 years', (t) => {
  const root = new X509Certificate(createRootCa().certificatePem);
  t.true(root.ca);
  t.is(root.subject, 'CN=swarm-ca');
  t.true(root.verify(root.publicKey));
  const years = (Date.parse(root.validTo) - Date.now()) / YEAR_MS;
  t.true(years > 19.9 && years < 20.1, `${years}`);
});

test('signCsr() says node, role and cluster, is no authority, and is back-dated by an hour', (t) => {
  const { ca, certificatePem } = issue('manager');
  const info = parseCertificate(certificatePem);
  t.is(info.nodeId, 'node1');
  t.is(info.role, 'manager');
  t.is(info.clusterId, 'cluster1');
  t.is(info.issuer, 'swarm-ca');
  t.true(Math.abs(Date.now() - HOUR_MS - info.notBeforeMs) < 60_000);
  t.false(new X509Certificate(certificatePem).ca);
  t.true(isIssuedByAny(certificatePem, ca.certificatePem));
  t.false(isIssuedByAny(certificatePem, createRootCa().certificatePem));
  t.true(
    isIssuedByAny(certificatePem, createRootCa().certificatePem + ca.certificatePem),
    'one of two roots',
  );
});

test('signCsr() never issues beyond the end of the root', (t) => {
  const ca = createRootCa('swarm-ca', Date.now() - 20 * YEAR_MS + 3_600_000 * 24 * 10);
  const { certificatePem } = issue('worker', ca);
  t.true(
    parseCertificate(certificatePem).notAfterMs <=
      Date.parse(new X509Certificate(ca.certificatePem).validTo),
  );
});

test('signCsr() refuses a request whose signature is not of its key', (t) => {
  const ca = createRootCa();
  const [bytes] = fromPem('CERTIFICATE REQUEST', createKeyAndCsr().csrPem);
  t.truthy(bytes);
  for (const at of [20, 60, (bytes?.length ?? 0) - 3]) {
    const bad = Uint8Array.from(bytes ?? []);
    bad[at] = (bad[at] ?? 0) ^ 1;
    const error = t.throws(() =>
      signCsr({
        csrPem: toPem('CERTIFICATE REQUEST', bad),
        caCertificatePem: ca.certificatePem,
        caKeyPem: ca.keyPem,
        nodeId: 'n',
        role: 'worker',
        clusterId: 'c',
        validityMs: HOUR_MS,
      }),
    );
    t.true(isShoalError(error, 'invalid-argument'), `byte ${at}`);
  }
  t.throws(
    () =>
      signCsr({
        csrPem: 'nonsense',
        caCertificatePem: ca.certificatePem,
        caKeyPem: ca.keyPem,
        nodeId: 'n',
        role: 'worker',
        clusterId: 'c',
        validityMs: HOUR_MS,
      }),
    { message: /CERTIFICATE REQUEST/ },
  );
});

test('createIdentity() refuses parts that do not belong together', (t) => {
  const { ca, keyPem, certificatePem } = issue();
  t.is(createIdentity(certificatePem, keyPem, ca.certificatePem).holder.role, 'worker');
  t.throws(() => createIdentity(certificatePem, createKeyAndCsr().keyPem, ca.certificatePem), {
    message: /key/,
  });
  t.throws(() => createIdentity(certificatePem, keyPem, createRootCa().certificatePem), {
    message: /root/,
  });
  t.throws(() => createIdentity(ca.certificatePem, ca.keyPem, ca.certificatePem), {
    message: /node/,
  });
});

test('a join token goes there and back, and pins the root it was made for', (t) => {
  const { certificatePem } = createRootCa();
  const token = { rootDigest: rootDigest(certificatePem), secret: newJoinSecret(systemRandom) };
  const text = formatJoinToken(token);
  t.regex(text, /^SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}$/);
  t.deepEqual(parseJoinToken(` ${text}\n`), token);
  t.not(rootDigest(createRootCa().certificatePem), token.rootDigest);
  t.is(digestToken(new Uint8Array(32)).length, 50);
  t.is(digestToken(new Uint8Array(32).fill(255)).length, 50);
});

test('parseJoinToken() refuses other texts and does not repeat them', (t) => {
  const error = t.throws(() => parseJoinToken('SWMTKN-1-secretsecret'));
  t.true(isShoalError(error, 'invalid-argument'));
  t.notRegex(error.message, /secretsecret/);
});

test('sameSecret() compares whole texts', (t) => {
  t.true(sameSecret('abc', 'abc'));
  t.false(sameSecret('abc', 'abd'));
  t.false(sameSecret('abc', 'abcabc'));
  t.false(sameSecret('abc', ''));
  t.false(sameSecret('', 'abc'));
});
