import { type LogOwner, ownerOf } from '../node-start.ts';
import { FolderDisk } from './folder-disk.ts';
import { LogKeys } from './log-keys.ts';
import { Notes } from './notes.ts';
import { WalLog } from './wal-log.ts';

/**
 * Opens or creates the log in `folder`. `kek`: the key-encryption key that lies nowhere on this disk;
 * undefined for a log that needs none. Throws `failed-precondition` when it is in use, or locked.
 */
export function openLog(folder: string, kek?: Uint8Array): WalLog {
  const disk = new FolderDisk(folder);
  const unlock = disk.lock();
  try {
    return new OwnedLog(disk, new LogKeys(disk, kek), unlock);
  } catch (error) {
    unlock();
    throw error;
  }
}

class OwnedLog extends WalLog {
  readonly #unlock: () => void;
  constructor(disk: FolderDisk, keys: LogKeys, unlock: () => void) {
    super(disk, keys);
    this.#unlock = unlock;
  }
  override close(): void {
    super.close();
    this.#unlock();
  }
}

/**
 * Whether the log in a folder opens for who has `kek`, or (undefined) for whoever has the disk. Also of one that is
 * in use. By what is on disk: a change of keys may be waiting for room.
 */
export function logOpens(folder: string, kek: Uint8Array | undefined): boolean {
  return LogKeys.open(new FolderDisk(folder), kek);
}

/** Whose log lies in a folder; undefined when there is none. Also of one that is locked. */
export function readLogOwner(folder: string): LogOwner | undefined {
  return ownerOf(new Notes(new FolderDisk(folder)));
}
