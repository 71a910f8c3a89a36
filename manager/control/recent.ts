import { hasNewRecord } from '../store/scale-log.ts';
import type { Change, WatchableStore } from '../store/types.ts';

/** As many as Docker keeps of its own; some MiB at most, since no file's content is kept. */
const KEPT_CHANGES = 256;
const NO_DATA = Buffer.alloc(0);
/** There is no event of these. */
const UNTOLD: ReadonlySet<string> = new Set(['task', 'cluster']);

export type RecentChange = Readonly<{
  index: number;
  /** When its transaction was proposed: the same on every manager. */
  atMs: number;
  change: Change;
}>;

/**
 * The last changes that `docker events` tells of, for who asks what happened before. The store's own history
 * would be short: the tasks of one scale-up fill it. What came by a snapshot in place of entries has no time
 * and is left out.
 */
export class RecentChanges {
  readonly #kept: RecentChange[] = [];

  constructor(store: Pick<WatchableStore, 'onCommit'>) {
    store.onCommit(({ index, atMs, changes }) => {
      if (atMs === undefined) return;
      for (const change of changes) {
        if (UNTOLD.has(change.table) || isDecisionWithoutChange(change)) continue;
        this.#kept.push({ index, atMs, change: light(change) });
      }
      if (this.#kept.length > KEPT_CHANGES) this.#kept.splice(0, this.#kept.length - KEPT_CHANGES);
    });
  }

  /** Those at or after a time, oldest first. */
  since(sinceMs: number): readonly RecentChange[] {
    return this.#kept.filter(({ atMs }) => atMs >= sinceMs);
  }
}

/** Of these there is no event either, and a log that grows each few seconds would drive out those there are. */
function isDecisionWithoutChange(change: Change): boolean {
  if (change.table !== 'autoscaling') return false;
  const last = change.object.records.at(-1);
  if (change.action === 'remove' || !hasNewRecord(change.object, change.previous)) return true;
  return last === undefined || last.held || last.from === last.to;
}

/** Without what files hold: 256 configs of a megabyte each would be kept for nothing. Of a log its newest record. */
function light(change: Change): Change {
  if (change.table === 'secret') {
    return { ...change, object: withoutData(change.object), previous: undefined };
  }
  if (change.table === 'config') {
    return { ...change, object: withoutData(change.object), previous: undefined };
  }
  if (change.table === 'autoscaling') {
    const records = change.object.records.slice(-1).map((last) => ({ ...last, inputJson: '' }));
    return { ...change, object: { ...change.object, records }, previous: undefined };
  }
  return change;
}

function withoutData<T extends { spec?: { data: Buffer } | undefined }>(file: T): T {
  return file.spec === undefined ? file : { ...file, spec: { ...file.spec, data: NO_DATA } };
}
