import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TlsIdentity } from '../../../shared/pki/identity.ts';
import {
  IDENTITY_FILE,
  identityText,
  isIdentityLocked,
  ROOTS_FILE,
  readIdentity,
} from '../../../shared/pki/io/identity-files.ts';
import type { NodeRecord } from '../record.ts';

/** The node's membership on disk: `node.json` and its certificates, mode 0600. */
export class NodeStore {
  readonly #dir: string;
  #unlockKey: Uint8Array | undefined;
  #writing: Promise<unknown> = Promise.resolve();
  constructor(stateDir: string) {
    this.#dir = stateDir;
  }

  get certificateDir(): string {
    return join(this.#dir, 'certificates');
  }
  get managerDir(): string {
    return join(this.#dir, 'manager');
  }

  /** What locks the TLS key: in memory only. */
  get unlockKey(): Uint8Array | undefined {
    return this.#unlockKey;
  }

  /** Without an identity where it needs `unlock`. */
  async load(): Promise<{ record: NodeRecord; identity: TlsIdentity | undefined } | undefined> {
    let text: string;
    try {
      text = await readFile(join(this.#dir, 'node.json'), 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    const needsKey = this.#unlockKey === undefined && (await isIdentityLocked(this.certificateDir));
    return {
      record: JSON.parse(text) as NodeRecord,
      identity: needsKey ? undefined : await readIdentity(this.certificateDir, this.#unlockKey),
    };
  }

  async saveRecord(record: NodeRecord): Promise<void> {
    await mkdir(this.#dir, { recursive: true });
    await replaceFile(join(this.#dir, 'node.json'), `${JSON.stringify(record, undefined, 2)}\n`);
  }

  /** Throws `unauthenticated` when `key` is not the one. */
  async unlock(key: Uint8Array): Promise<TlsIdentity> {
    const identity = await readIdentity(this.certificateDir, key);
    this.#unlockKey = key;
    return identity;
  }

  /** The TLS key is locked by `key` from now on; undefined: by none. */
  async lockBy(key: Uint8Array | undefined): Promise<void> {
    await this.#alone(async () => {
      if (sameKey(key, this.#unlockKey)) return;
      const identity = await readIdentity(this.certificateDir, this.#unlockKey);
      await this.#writeIdentity(identity, key);
      this.#unlockKey = key;
    });
  }

  async saveIdentity(identity: TlsIdentity): Promise<void> {
    await this.#alone(async () => {
      await mkdir(this.certificateDir, { recursive: true, mode: 0o700 });
      // The certificate last: a reader that sees the new one finds its key.
      await replaceFile(join(this.certificateDir, ROOTS_FILE), identity.rootsPem);
      await this.#writeIdentity(identity, this.#unlockKey);
    });
  }

  /** Forgets what the manager process keeps: its log and snapshots. */
  async clearManager(): Promise<void> {
    await rm(this.managerDir, { recursive: true, force: true });
  }

  /** Forgets the cluster: record, certificates, the manager's log, the saved assignments. */
  async clear(): Promise<void> {
    this.#unlockKey = undefined;
    for (const name of ['node.json', 'certificates', 'manager', 'tasks']) {
      await rm(join(this.#dir, name), { recursive: true, force: true });
    }
  }

  #writeIdentity(identity: TlsIdentity, key: Uint8Array | undefined): Promise<void> {
    return replaceFile(join(this.certificateDir, IDENTITY_FILE), identityText(identity, key));
  }

  /** A renewed certificate and a new key never meet in the one file. */
  #alone(work: () => Promise<void>): Promise<void> {
    const done = this.#writing.then(work);
    this.#writing = done.catch(() => undefined);
    return done;
  }
}

function sameKey(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : Buffer.compare(a, b) === 0;
}

async function replaceFile(path: string, text: string): Promise<void> {
  await writeFile(`${path}.tmp`, text, { mode: 0o600, flush: true });
  await rename(`${path}.tmp`, path);
}
