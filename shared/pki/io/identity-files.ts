import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TlsIdentity } from '../identity.ts';
import { createIdentity } from './x509.ts';

export const IDENTITY_FILE = 'node.pem';
export const ROOTS_FILE = 'ca.crt';

/** Key and certificate lie in one file, so that a crash between two writes cannot part them. */
export async function readIdentity(certificateDir: string): Promise<TlsIdentity> {
  const [both, roots] = await Promise.all([
    readFile(join(certificateDir, IDENTITY_FILE), 'utf8'),
    readFile(join(certificateDir, ROOTS_FILE), 'utf8'),
  ]);
  const split = both.indexOf('-----BEGIN CERTIFICATE-----');
  return createIdentity(both.slice(split), both.slice(0, split), roots);
}
