import { FolderDisk } from './folder-disk.ts';
import { LogKeys } from './log-keys.ts';
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
