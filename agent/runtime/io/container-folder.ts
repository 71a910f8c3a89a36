import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ShoalError } from '../../../shared/errors.ts';
import { decodeLife, type LifeRecord } from '../record.ts';
import type { ContainerPaths } from '../spec.ts';
import type { ContainerConfig } from '../types.ts';

const TMPFS_MAGIC = 0x01021994;

/**
 * The files beside a container: `<state>/containers/<id>/` (network files, configs, log, life) and
 * `<run>/secrets/<id>/`, which must be in memory. Small files are written synchronously: they only go to the
 * page cache, and each trip through the thread pool would cost more than the write.
 */
export class ContainerFolders {
  readonly #stateDir: string;
  readonly #runDir: string;

  constructor(stateDir: string, runDir: string) {
    this.#stateDir = join(stateDir, 'containers');
    this.#runDir = join(runDir, 'secrets');
    mkdirSync(this.#stateDir, { recursive: true, mode: 0o711 });
    // Closed whatever the modes of the files in it say: these are for the users inside of the containers, and the
    // ids of containers, which are the paths, are no secret on a host.
    mkdirSync(this.#runDir, { recursive: true, mode: 0o700 });
    chmodSync(this.#runDir, 0o700);
  }

  logs(id: string): string {
    return join(this.#stateDir, id, 'logs');
  }

  paths(config: ContainerConfig): ContainerPaths {
    const folder = join(this.#stateDir, config.id);
    const secrets = join(this.#runDir, config.id);
    return {
      hostname: join(folder, 'hostname'),
      hosts: join(folder, 'hosts'),
      resolvConf: join(folder, 'resolv.conf'),
      files: config.files.map(({ kind }, index) =>
        join(kind === 'secret' ? secrets : folder, `${kind}-${index}`),
      ),
    };
  }

  /** Throws `failed-precondition` when there are secrets and the run folder is not in memory. */
  make(config: ContainerConfig, data: readonly Uint8Array[]): void {
    const paths = this.paths(config);
    mkdirSync(this.logs(config.id), { recursive: true, mode: 0o710 });
    writeFileSync(paths.hostname, `${config.hostname || config.id.slice(0, 12)}\n`);
    writeFileSync(paths.hosts, config.hosts);
    writeFileSync(paths.resolvConf, config.resolvConf);
    if (config.files.some((file) => file.kind === 'secret')) this.#makeSecretFolder(config.id);
    config.files.forEach((file, index) => {
      const path = paths.files[index] ?? '';
      // Closed to others until its owner is set.
      writeFileSync(path, data[index] ?? new Uint8Array(), { mode: 0o600 });
      chownSync(path, file.uid, file.gid);
      chmodSync(path, file.mode);
    });
  }

  async remove(id: string): Promise<void> {
    await Promise.all(
      [this.#stateDir, this.#runDir].map((folder) =>
        rm(join(folder, id), { recursive: true, force: true }),
      ),
    );
  }

  /** Folders of containers that are no more: of a crash between their making and their record, or its removal. */
  async removeOthers(known: ReadonlySet<string>): Promise<void> {
    const names = [this.#stateDir, this.#runDir].flatMap((folder) => readdirSync(folder));
    for (const id of new Set(names)) if (!known.has(id)) await this.remove(id);
  }

  readLife(id: string): LifeRecord {
    try {
      return decodeLife(readFileSync(join(this.#stateDir, id, 'life.json'), 'utf8'));
    } catch {
      return decodeLife(undefined);
    }
  }

  /** Survives a crash of this process: the page cache does. */
  noteLife(id: string, life: LifeRecord): void {
    writeFileSync(join(this.#stateDir, id, 'life.json'), JSON.stringify(life), { mode: 0o600 });
  }

  /** On the disk when it resolves: what comes next makes containerd forget the exit. */
  async storeLife(id: string, life: LifeRecord): Promise<void> {
    const path = join(this.#stateDir, id, 'life.json');
    const file = await open(`${path}.new`, 'w', 0o600);
    try {
      await file.writeFile(JSON.stringify(life));
      await file.datasync();
    } finally {
      await file.close();
    }
    await rename(`${path}.new`, path);
  }

  #makeSecretFolder(id: string): void {
    if (statfsSync(this.#runDir).type !== TMPFS_MAGIC) {
      throw new ShoalError(
        'failed-precondition',
        `secrets are only kept in memory, and ${this.#runDir} is not on a tmpfs: choose another --run-dir`,
      );
    }
    mkdirSync(join(this.#runDir, id), { recursive: true, mode: 0o700 });
  }
}
