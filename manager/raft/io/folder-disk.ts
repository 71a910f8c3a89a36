import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  write,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ShoalError } from '../../../shared/errors.ts';
import type { Disk, DiskFile } from './disk.ts';

const LOCK = 'lock';
const fdatasyncAsync = promisify(fdatasync);
const writeAsync = promisify(write);

/** A folder of the real disk, created when missing, for one process at a time. */
export class FolderDisk implements Disk {
  readonly path: string;
  constructor(path: string) {
    this.path = path;
    mkdirSync(path, { recursive: true, mode: 0o700 });
  }

  /**
   * Throws `failed-precondition` while another has it. The lock names its process by number and
   * start, and the folder by its inode: a process that is gone and a folder that was copied hold none.
   */
  lock(): () => void {
    const path = join(this.path, LOCK);
    const mine = `${process.pid} ${startOf(process.pid)} ${statSync(this.path).ino}\n`;
    for (let attempt = 0; attempt < 2; attempt++) {
      try {
        writeFileSync(path, mine, { flag: 'wx', mode: 0o600 });
        return () => rmSync(path, { force: true });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
      const [pid = '', start = '', inode = ''] = readFileSync(path, 'utf8').trim().split(' ');
      const held = Number(inode) === statSync(this.path).ino && startOf(Number(pid)) === start;
      if (held) break;
      rmSync(path, { force: true });
    }
    throw new ShoalError(
      'failed-precondition',
      `the Raft log in ${this.path} is in use: is another manager running on it?`,
    );
  }

  list(): string[] {
    return readdirSync(this.path).filter((name) => name !== LOCK);
  }
  create(name: string): DiskFile {
    return new FolderFile(openSync(join(this.path, name), 'wx+', 0o600));
  }
  open(name: string): DiskFile | undefined {
    try {
      return new FolderFile(openSync(join(this.path, name), 'r+'));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }
  rename(from: string, to: string): void {
    renameSync(join(this.path, from), join(this.path, to));
  }
  remove(name: string): void {
    rmSync(join(this.path, name), { force: true });
  }
  syncFolder(): void {
    const fd = openSync(this.path, 'r');
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  }
}

class FolderFile implements DiskFile {
  readonly #fd: number;
  constructor(fd: number) {
    this.#fd = fd;
  }
  size(): number {
    return fstatSync(this.#fd).size;
  }
  read(into: Uint8Array, at: number): number {
    let done = 0;
    while (done < into.length) {
      const got = readSync(this.#fd, into, done, into.length - done, at + done);
      if (got === 0) break;
      done += got;
    }
    return done;
  }
  write(bytes: Uint8Array, at: number): void {
    for (let done = 0; done < bytes.length; ) {
      done += writeSync(this.#fd, bytes, done, bytes.length - done, at + done);
    }
  }
  sync(): void {
    fdatasyncSync(this.#fd);
  }
  async writeSoon(bytes: Uint8Array, at: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const rest = bytes.length - done;
      done += (await writeAsync(this.#fd, bytes, done, rest, at + done)).bytesWritten;
    }
  }
  syncSoon(): Promise<void> {
    return fdatasyncAsync(this.#fd);
  }
  truncate(size: number): void {
    ftruncateSync(this.#fd, size);
  }
  close(): void {
    closeSync(this.#fd);
  }
}

/** When a process began, in ticks since the boot; empty for one that is not there. */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in brackets may hold spaces; the 20th field after it is the start.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}
