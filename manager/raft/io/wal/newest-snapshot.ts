import { messageOf, type ShoalError } from '../../../../shared/errors.ts';
import type { SnapshotMeta } from '../../types.ts';
import type { SnapshotFiles } from '../snapshot-files.ts';
import type { Replay } from './replay.ts';
import type { TermRuns } from './terms.ts';

/**
 * The newest snapshot that can be read and that the log continues; undefined for a log that has none
 * and needs none. Removes those that were finished, but never counted.
 */
export function newestSnapshot(
  { snapshot: recorded, compacted }: Replay,
  files: SnapshotFiles,
  terms: TermRuns,
  refuse: (what: string, cause?: unknown) => ShoalError,
): SnapshotMeta | undefined {
  // Newer than recorded: finished, but the crash came before it counted.
  files.pruneFinished(({ index }) => index <= (recorded?.index ?? 0));
  if (recorded === undefined) {
    if (compacted.index === 0) return undefined;
    throw refuse('the log begins after a snapshot, but none is recorded');
  }
  let why: unknown;
  for (const name of files.list()) {
    if (name.index < compacted.index) break;
    try {
      const meta = files.check(name);
      if (terms.at(name.index) === meta.term) return meta;
    } catch (error) {
      why ??= error;
    }
  }
  const which = `snapshot ${recorded.index} (term ${recorded.term})`;
  throw refuse(why === undefined ? `${which} is missing` : `${which}: ${messageOf(why)}`, why);
}
