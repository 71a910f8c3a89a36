import { EMPTY_CONF } from '../../../../manager/raft/conf-change.ts';
import type { LoadedState } from '../../../../manager/raft/durable-log.ts';
import { LogKeys } from '../../../../manager/raft/io/log-keys.ts';
import { WalLog } from '../../../../manager/raft/io/wal-log.ts';
import type { Entry, HardState, RaftId, SnapshotMeta } from '../../../../manager/raft/types.ts';
import { isShoalError } from '../../../../shared/errors.ts';
import type { SimDisk } from './sim-disk.ts';

export const ID = '0123456789abcdefghijklmno' as RaftId;
export const bytes = (text: string) => new TextEncoder().encode(text);
export const entry = (index: number, term = 1, text = `entry ${index}`): Entry => ({
  index,
  term,
  type: 'normal',
  data: bytes(text),
});
export const range = (first: number, last: number, term = 1) =>
  Array.from({ length: last - first + 1 }, (_, i) => entry(first + i, term));
export const hard = (term: number, commit: number): HardState => ({ term, commit, vote: ID });
export const meta = (index: number, term = 1): SnapshotMeta => ({
  index,
  term,
  confState: { ...EMPTY_CONF, voters: [ID] },
});
export const places = (state: LoadedState) =>
  state.entries.map(({ index, term }) => [index, term] as const);

export function openOn(disk: SimDisk): WalLog {
  return new WalLog(disk, new LogKeys(disk, undefined));
}
/** Opened and loaded. */
export function begin(disk: SimDisk): WalLog {
  const log = openOn(disk);
  log.load();
  return log;
}
export function load(disk: SimDisk): LoadedState {
  return openOn(disk).load();
}
/** Why it is refused; `loaded` when it is not. */
export function refusal(disk: SimDisk): string {
  try {
    load(disk);
    return 'loaded';
  } catch (error) {
    return isShoalError(error, 'failed-precondition') ? error.message : `wrong error: ${error}`;
  }
}
export function bodyOf(log: WalLog): string[] {
  const read = log.readSnapshot();
  return read === undefined ? [] : [...read.body].map((chunk) => new TextDecoder().decode(chunk));
}
export const segments = (disk: SimDisk) =>
  disk
    .list()
    .filter((name) => name.startsWith('wal-'))
    .sort();
export const snapshots = (disk: SimDisk) =>
  disk
    .list()
    .filter((name) => name.startsWith('snap-'))
    .sort();
/** Just behind the last byte that is not zero. */
export function endOf(content: Uint8Array): number {
  return content.findLastIndex((byte) => byte !== 0) + 1;
}
