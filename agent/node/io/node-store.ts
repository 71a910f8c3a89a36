import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TlsIdentity } from '../../../shared/pki/identity.ts';
import { IDENTITY_FILE, ROOTS_FILE, readIdentity } from '../../../shared/pki/io/identity-files.ts';
import type { NodeRecord } from '../record.ts';

/** The node's membership on disk: `node.json` and its certificates, mode 0600. */
export class NodeStore {
  readonly #dir: string;
  constructor(stateDir: string) {
    this.#dir = stateDir;
  }

  get certificateDir(): string {
    return join(this.#dir, 'certificates');
  }
  get managerDir(): string {
    return join(this.#dir, 'manager');
  }

  async load(): Promise<{ record: NodeRecord; identity: TlsIdentity } | undefined> {
    let text: string;
    try {
      text = await readFile(join(this.#dir, 'node.json'), 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    return {
      record: JSON.parse(text) as NodeRecord,
      identity: await readIdentity(this.certificateDir),
    };
  }

  async saveRecord(record: NodeRecord): Promise<void> {
    await mkdir(this.#dir, { recursive: true });
    await replaceFile(join(this.#dir, 'node.json'), `${JSON.stringify(record, undefined, 2)}\n`);
  }

  async saveIdentity(identity: TlsIdentity): Promise<void> {
    await mkdir(this.certificateDir, { recursive: true, mode: 0o700 });
    // The certificate last: a reader that sees the new one finds its key.
    await replaceFile(join(this.certificateDir, ROOTS_FILE), identity.rootsPem);
    await replaceFile(
      join(this.certificateDir, IDENTITY_FILE),
      identity.keyPem + identity.certificatePem,
    );
  }

  /** Forgets what the manager process keeps: its log and snapshots. */
  async clearManager(): Promise<void> {
    await rm(this.managerDir, { recursive: true, force: true });
  }

  /** Forgets the cluster: record, certificates, the manager's log, the saved assignments. */
  async clear(): Promise<void> {
    for (const name of ['node.json', 'certificates', 'manager', 'tasks']) {
      await rm(join(this.#dir, name), { recursive: true, force: true });
    }
  }
}

async function replaceFile(path: string, text: string): Promise<void> {
  await writeFile(`${path}.tmp`, text, { mode: 0o600, flush: true });
  await rename(`${path}.tmp`, path);
}
