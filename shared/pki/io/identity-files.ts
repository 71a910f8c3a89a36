import { createPrivateKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isShoalError, ShoalError } from '../../errors.ts';
import type { TlsIdentity } from '../identity.ts';
import { createIdentity } from './x509.ts';

export const IDENTITY_FILE = 'node.pem';
export const ROOTS_FILE = 'ca.crt';
const BEGIN_CERTIFICATE = '-----BEGIN CERTIFICATE-----';
const BEGIN_LOCKED_KEY = '-----BEGIN ENCRYPTED PRIVATE KEY-----';

/**
 * Key and certificate lie in one file, so that a crash between two writes cannot part them. The key
 * may be locked by the swarm's unlock key: throws `unauthenticated` without the right one.
 */
export async function readIdentity(
  certificateDir: string,
  unlockKey?: Uint8Array,
): Promise<TlsIdentity> {
  const [both, roots] = await Promise.all([
    readFile(join(certificateDir, IDENTITY_FILE), 'utf8'),
    readFile(join(certificateDir, ROOTS_FILE), 'utf8'),
  ]);
  const split = both.indexOf(BEGIN_CERTIFICATE);
  return createIdentity(both.slice(split), openKey(both.slice(0, split), unlockKey), roots);
}

export async function isIdentityLocked(certificateDir: string): Promise<boolean> {
  return (await readFile(join(certificateDir, IDENTITY_FILE), 'utf8')).includes(BEGIN_LOCKED_KEY);
}

/** Whether the key is locked, and by this one. */
export async function isIdentityLockedBy(
  certificateDir: string,
  unlockKey: Uint8Array,
): Promise<boolean> {
  if (!(await isIdentityLocked(certificateDir))) return false;
  try {
    await readIdentity(certificateDir, unlockKey);
    return true;
  } catch (error) {
    if (isShoalError(error, 'unauthenticated')) return false;
    throw error;
  }
}

/** The content of the identity's file; the key locked, when there is an unlock key. */
export function identityText(identity: TlsIdentity, unlockKey: Uint8Array | undefined): string {
  return lockKey(identity.keyPem, unlockKey) + identity.certificatePem;
}

function lockKey(keyPem: string, unlockKey: Uint8Array | undefined): string {
  if (unlockKey === undefined) return keyPem;
  const options = { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc' } as const;
  const passphrase = passphraseOf(unlockKey);
  return createPrivateKey(keyPem)
    .export({ ...options, passphrase })
    .toString();
}

function openKey(keyPem: string, unlockKey: Uint8Array | undefined): string {
  if (!keyPem.includes(BEGIN_LOCKED_KEY)) return keyPem;
  if (unlockKey === undefined) throw locked('it needs the unlock key');
  try {
    const key = createPrivateKey({ key: keyPem, passphrase: passphraseOf(unlockKey) });
    return key.export({ type: 'pkcs8', format: 'pem' }).toString();
  } catch (error) {
    throw locked('the unlock key is not the right one', error);
  }
}

function passphraseOf(unlockKey: Uint8Array): string {
  return Buffer.from(unlockKey).toString('base64');
}

function locked(why: string, cause?: unknown): ShoalError {
  return new ShoalError(
    'unauthenticated',
    `this node's TLS key is locked: ${why}`,
    cause === undefined ? undefined : { cause },
  );
}
