import { lstatSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { isShoalError } from '../../../shared/errors.ts';
import { SnapshotsService } from '../../../shared/gen/containerd/snapshots.ts';
import type { Mount } from '../../../shared/gen/containerd/types.ts';
import type { UserFiles } from '../user.ts';
import type { ContainerdClient } from './containerd.ts';

const MAX_CACHED = 64;
const MAX_FILE_BYTES = 1 << 20;
const MAX_LINKS = 16;

/** /etc/passwd and /etc/group of images, read from their snapshots once per chain of layers. */
export class ImageUserFiles {
  readonly #client: ContainerdClient;
  readonly #snapshotter: string;
  readonly #byChain = new Map<string, Promise<UserFiles>>();

  constructor(client: ContainerdClient, snapshotter: string) {
    this.#client = client;
    this.#snapshotter = snapshotter;
  }

  get(chainId: string): Promise<UserFiles> {
    if (chainId === '') return Promise.resolve({ passwd: '', group: '' });
    const known = this.#byChain.get(chainId);
    if (known !== undefined) return known;
    const read = this.#read(chainId);
    this.#byChain.set(chainId, read);
    read.catch(() => this.#byChain.delete(chainId));
    const [oldest] = this.#byChain.keys();
    if (this.#byChain.size > MAX_CACHED && oldest !== undefined) this.#byChain.delete(oldest);
    return read;
  }

  async #read(chainId: string): Promise<UserFiles> {
    const snapshotter = this.#snapshotter;
    const key = `shoal-users ${chainId}`;
    const view = {
      snapshotter,
      key,
      parent: chainId,
      // Without this the garbage collector may take the view before it is read.
      labels: { 'containerd.io/gc.root': 'reading user files' },
    };
    const { mounts } = await this.#client.call(SnapshotsService.view, view).catch((error) => {
      // Left by a process that died in between.
      if (!isShoalError(error, 'already-exists')) throw error;
      return this.#client.call(SnapshotsService.mounts, { snapshotter, key });
    });
    try {
      return readUserFiles(layerFolders(mounts));
    } finally {
      await this.#client.call(SnapshotsService.remove, { snapshotter, key });
    }
  }
}

/** The folders whose union a mount is, topmost first. */
function layerFolders(mounts: readonly Mount[]): string[] {
  return mounts.flatMap((mount) => {
    if (mount.type === 'bind') return [mount.source];
    const option = (name: string) =>
      mount.options.find((each) => each.startsWith(`${name}=`))?.slice(name.length + 1);
    const upper = option('upperdir');
    return [...(upper === undefined ? [] : [upper]), ...(option('lowerdir')?.split(':') ?? [])];
  });
}

export function readUserFiles(layers: readonly string[]): UserFiles {
  return { passwd: readIn(layers, '/etc/passwd'), group: readIn(layers, '/etc/group') };
}

/**
 * A file of the union of `layers`, empty when there is none. Links are followed by hand, component by
 * component, because an absolute one must not lead out of the image into the host. Opaque folders are not
 * seen (that takes extended attributes, which Node cannot read): a file below one may come from a lower layer.
 */
function readIn(layers: readonly string[], path: string): string {
  let left = path.split('/').filter(Boolean);
  let done: string[] = [];
  let links = 0;
  while (left.length > 0) {
    const [name = '', ...rest] = left;
    left = rest;
    if (name === '.') continue;
    if (name === '..') {
      done.pop();
      continue;
    }
    const found = find(layers, [...done, name].join('/'));
    if (found === undefined) return '';
    if (found.kind === 'link') {
      links += 1;
      if (links > MAX_LINKS) return '';
      const target = readlinkSync(found.path);
      if (target.startsWith('/')) done = [];
      left = [...target.split('/').filter(Boolean), ...left];
      continue;
    }
    if (left.length === 0) {
      return found.kind === 'file' && found.sizeBytes <= MAX_FILE_BYTES
        ? readFileSync(found.path, 'utf8')
        : '';
    }
    if (found.kind !== 'folder') return '';
    done.push(name);
  }
  return '';
}

function find(
  layers: readonly string[],
  relative: string,
): { kind: 'file' | 'folder' | 'link'; path: string; sizeBytes: number } | undefined {
  for (const layer of layers) {
    const parents = parentsIn(layer, relative);
    if (parents === 'absent') continue;
    if (parents === 'hidden') return undefined;
    const path = join(layer, relative);
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat === undefined) continue;
    if (stat.isSymbolicLink()) return { kind: 'link', path, sizeBytes: 0 };
    if (stat.isDirectory()) return { kind: 'folder', path, sizeBytes: 0 };
    if (stat.isFile()) return { kind: 'file', path, sizeBytes: stat.size };
    return undefined; // a whiteout (character device 0:0), or nothing to read a user from
  }
  return undefined;
}

/**
 * Whether a layer has the folders above a path as folders. Anything else in their place hides this and all
 * lower layers; a link among them, followed by the system, could even lead into the host.
 */
function parentsIn(layer: string, relative: string): 'folders' | 'absent' | 'hidden' {
  const parts = relative.split('/').slice(0, -1);
  for (let length = 1; length <= parts.length; length += 1) {
    const stat = lstatSync(join(layer, ...parts.slice(0, length)), { throwIfNoEntry: false });
    if (stat === undefined) return 'absent';
    if (!stat.isDirectory()) return 'hidden';
  }
  return 'folders';
}
