/**
 * What the log and the snapshots need of a disk: one folder, no subfolders. Calls block and throw the
 * system's errors (`code` ENOSPC, EIO, ...) unless they say `Soon`. The real one is `folder-disk.ts`.
 */
export interface Disk {
  /** For messages. */
  readonly path: string;
  /** Names of the files there are, in no order. */
  list(): string[];
  /** Fails when there is one of that name. Only its owner may read it. */
  create(name: string): DiskFile;
  /** To read and to write. Undefined when there is none. */
  open(name: string): DiskFile | undefined;
  rename(from: string, to: string): void;
  /** One that is not there is no error. */
  remove(name: string): void;
  /** Names made and removed so far survive a crash. */
  syncFolder(): void;
}

export interface DiskFile {
  size(): number;
  /** Fills `into` from `at` on; returns how much there was. */
  read(into: Uint8Array, at: number): number;
  /** Writes all of it. */
  write(bytes: Uint8Array, at: number): void;
  /** What was written survives a crash. After a failure nobody knows what is on the disk. */
  sync(): void;
  /** The same beside this thread. */
  writeSoon(bytes: Uint8Array, at: number): Promise<void>;
  syncSoon(): Promise<void>;
  truncate(size: number): void;
  close(): void;
}

/** No room, or no quota: the one failure of a disk that passes. */
export function isDiskFull(error: unknown): boolean {
  const { code } = (error ?? {}) as { code?: unknown };
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/** The whole of a small file; undefined when there is none. */
export function readWhole(disk: Disk, name: string): Uint8Array | undefined {
  const file = disk.open(name);
  if (file === undefined) return undefined;
  try {
    const bytes = new Uint8Array(file.size());
    return bytes.subarray(0, file.read(bytes, 0));
  } finally {
    file.close();
  }
}

/** Replaces a small file: after a crash it is the old or the new one, and when this returns the new. */
export function replaceWhole(disk: Disk, name: string, bytes: Uint8Array): void {
  const temporary = `${name}.tmp`;
  disk.remove(temporary);
  const file = disk.create(temporary);
  try {
    file.write(bytes, 0);
    file.sync();
  } catch (error) {
    disk.remove(temporary);
    throw error;
  } finally {
    file.close();
  }
  disk.rename(temporary, name);
  disk.syncFolder();
}
