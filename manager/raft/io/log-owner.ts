import { type LogOwner, ownerOf } from '../node-start.ts';
import { FolderDisk } from './folder-disk.ts';
import { LogKeys } from './log-keys.ts';
import { Notes } from './notes.ts';

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
