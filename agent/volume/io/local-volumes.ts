import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../../shared/clock.ts';
import { ShoalError } from '../../../shared/errors.ts';
import { newHexId } from '../../../shared/ids.ts';
import type { Random } from '../../../shared/random.ts';
import { checkVolumeDriver, checkVolumeName } from '../names.ts';
import type { Volume, Volumes } from '../types.ts';

type Stored = Omit<Volume, 'mountpoint'>;

/**
 * Volumes as directories: `<directory>/<name>/_data` has the files, `<name>/volume.json` the rest.
 * The JSON is written last, by a rename, so a directory without it is no volume yet.
 */
export class LocalVolumes implements Volumes {
  readonly #directory: string;
  readonly #clock: Clock;
  readonly #random: Random;
  /** Several tasks of one host may ask for a new volume at once: one makes it. */
  readonly #making = new Map<string, Promise<Volume>>();

  constructor(directory: string, clock: Clock, random: Random) {
    this.#directory = directory;
    this.#clock = clock;
    this.#random = random;
  }

  async list(): Promise<readonly Volume[]> {
    const names = await readdir(this.#directory).catch(nothingThere<string[]>([]));
    const volumes = await Promise.all(names.map((name) => this.#read(name)));
    return volumes.filter((volume) => volume !== undefined);
  }

  async get(name: string): Promise<Volume> {
    checkVolumeName(name);
    const volume = await this.#read(name);
    if (volume === undefined) throw new ShoalError('not-found', `get ${name}: no such volume`);
    return volume;
  }

  async ensure(name: string, options: Parameters<Volumes['ensure']>[1] = {}): Promise<Volume> {
    checkVolumeDriver(options.driver ?? '');
    const anonymous = name === '';
    const wanted = anonymous ? newHexId(this.#random) : name;
    checkVolumeName(wanted);
    const running = this.#making.get(wanted);
    if (running !== undefined) return running;
    const making = this.#make({
      name: wanted,
      driver: 'local',
      labels: options.labels ?? {},
      createdAtMs: this.#clock.now(),
      anonymous,
    }).finally(() => this.#making.delete(wanted));
    this.#making.set(wanted, making);
    return making;
  }

  async remove(name: string, options: Parameters<Volumes['remove']>[1]): Promise<void> {
    checkVolumeName(name);
    if ((await this.#read(name)) === undefined) {
      if (options.force) return;
      throw new ShoalError('not-found', `get ${name}: no such volume`);
    }
    if (options.users.length > 0) {
      throw new ShoalError(
        'failed-precondition',
        `remove ${name}: volume is in use - [${options.users.join(', ')}]`,
      );
    }
    // The record first: half a removal leaves a directory that is no volume any more.
    await rm(join(this.#directory, name, 'volume.json'), { force: true });
    await rm(join(this.#directory, name), { recursive: true, force: true });
  }

  async removeAnonymous(names: readonly string[]): Promise<void> {
    for (const name of names) {
      if ((await this.#read(name))?.anonymous) await this.remove(name, { force: true, users: [] });
    }
  }

  async sizeBytes(name: string): Promise<number> {
    const { mountpoint } = await this.get(name);
    let total = 0;
    const entries = await readdir(mountpoint, { recursive: true, withFileTypes: true });
    for (const entry of entries) {
      if (!entry.isFile()) continue;
      const size = await stat(join(entry.parentPath, entry.name)).then(
        (found) => found.size,
        nothingThere(0),
      );
      total += size;
    }
    return total;
  }

  async #make(stored: Stored): Promise<Volume> {
    const existing = await this.#read(stored.name);
    if (existing !== undefined) return existing;
    const home = join(this.#directory, stored.name);
    await mkdir(join(home, '_data'), { recursive: true, mode: 0o755 });
    const record = join(home, 'volume.json');
    const file = await open(`${record}.new`, 'w', 0o600);
    try {
      await file.writeFile(JSON.stringify(stored));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(`${record}.new`, record);
    return this.#volume(stored);
  }

  async #read(name: string): Promise<Volume | undefined> {
    const record = await readFile(join(this.#directory, name, 'volume.json'), 'utf8').catch(
      nothingThere<string | undefined>(undefined),
    );
    return record === undefined ? undefined : this.#volume(JSON.parse(record) as Stored);
  }

  #volume(stored: Stored): Volume {
    return { ...stored, mountpoint: join(this.#directory, stored.name, '_data') };
  }
}

/** For catch: a missing file or directory counts as `instead`; other errors go on. */
function nothingThere<T>(instead: T): (error: NodeJS.ErrnoException) => T {
  return (error) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return instead;
    throw error;
  };
}
