import { closeSync, openSync, readlinkSync, readSync } from 'node:fs';
import { join } from 'node:path';
import type { CgroupMounts } from '../../runtime/cgroup.ts';
import {
  CONTAINER_FILES,
  type ContainerFile,
  type ContainerTexts,
  resourcesOf,
} from '../container-files.ts';
import type { ResourceReader, Resources } from '../types.ts';

const FILES = Object.keys(CONTAINER_FILES[1]) as ContainerFile[];

/**
 * Containers' cgroups and interfaces. Descriptors stay open, five for each container: a reading costs a third of what
 * it does with opening and closing. An open /proc/PID/net/dev keeps the container's network in the kernel: until the
 * next round, when its cgroup is found gone.
 */
export class ContainerReader implements ResourceReader {
  readonly #mounts: CgroupMounts;
  readonly #parent: string;
  readonly #opened = new Map<string, ReadonlyMap<keyof ContainerTexts, number>>();
  readonly #buffer = Buffer.allocUnsafe(64 << 10);

  /** `parent` is the cgroup that has the containers' below it, by their ids. */
  constructor(mounts: CgroupMounts, parent: string) {
    this.#mounts = mounts;
    this.#parent = parent;
  }

  knows(containerId: string): boolean {
    return this.#opened.has(containerId);
  }

  open(containerId: string, pid: number): void {
    const descriptors = new Map<keyof ContainerTexts, number>();
    const add = (name: keyof ContainerTexts, path: string) => {
      const descriptor = tryOpen(path);
      if (descriptor !== undefined) descriptors.set(name, descriptor);
    };
    for (const name of FILES) add(name, this.#path(containerId, name));
    if (descriptors.size === 0) return;
    if (hasOwnNetwork(pid)) add('network', `/proc/${pid}/net/dev`);
    this.#opened.set(containerId, descriptors);
  }

  read(containerId: string): Resources | undefined {
    const opened = this.#opened.get(containerId);
    if (opened === undefined) return undefined;
    const texts: { -readonly [Name in keyof ContainerTexts]: string } = {};
    try {
      for (const [name, descriptor] of opened) texts[name] = this.#text(descriptor);
    } catch {
      // ENODEV: the cgroup was removed while its files were open.
      this.#close(containerId, opened);
      return undefined;
    }
    return resourcesOf(this.#mounts.version, texts);
  }

  keepOnly(containerIds: ReadonlySet<string>): void {
    for (const [id, opened] of this.#opened) if (!containerIds.has(id)) this.#close(id, opened);
  }

  #close(containerId: string, descriptors: ReadonlyMap<string, number>): void {
    for (const descriptor of descriptors.values()) closeSync(descriptor);
    this.#opened.delete(containerId);
  }

  #path(containerId: string, name: ContainerFile): string {
    const mounts = this.#mounts;
    const { controller, file } = CONTAINER_FILES[mounts.version][name];
    const root = mounts.version === 2 ? mounts.root : mounts.roots[controller];
    return join(root ?? '/nonexistent', this.#parent, containerId, file);
  }

  #text(descriptor: number): string {
    const length = readSync(descriptor, this.#buffer, 0, this.#buffer.length, 0);
    return this.#buffer.toString('latin1', 0, length);
  }
}

function tryOpen(path: string): number | undefined {
  try {
    return openSync(path, 'r');
  } catch {
    return undefined; // a controller that this host lacks, or a container that has ended
  }
}

/** Of one that shares the host's, the host's traffic would be taken for its own. */
function hasOwnNetwork(pid: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`) !== readlinkSync('/proc/self/ns/net');
  } catch {
    return false;
  }
}
