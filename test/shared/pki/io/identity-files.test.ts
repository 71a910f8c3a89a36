import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import {
  IDENTITY_FILE,
  identityText,
  isIdentityLocked,
  ROOTS_FILE,
  readIdentity,
} from '../../../../shared/pki/io/identity-files.ts';
import { createRootCa } from '../../../../shared/pki/io/x509.ts';
import { issueIdentity } from '../../../support/identity.ts';

test('a locked TLS key is opened by its unlock key and by nothing else', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-identity-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const identity = issueIdentity(createRootCa(), 'n'.repeat(25));
  const key = new Uint8Array(32).fill(7);
  await writeFile(join(folder, ROOTS_FILE), identity.rootsPem);
  const text = identityText(identity, key);
  await writeFile(join(folder, IDENTITY_FILE), text);
  t.true(await isIdentityLocked(folder));
  t.false(text.includes('BEGIN PRIVATE KEY'));
  t.is((await readIdentity(folder, key)).keyPem, identity.keyPem);
  for (const wrong of [undefined, new Uint8Array(32).fill(8)]) {
    await t.throwsAsync(readIdentity(folder, wrong), { message: /locked/ });
  }
  await writeFile(join(folder, IDENTITY_FILE), identityText(identity, undefined));
  t.false(await isIdentityLocked(folder));
  t.is((await readIdentity(folder)).keyPem, identity.keyPem);
});
