import { broken } from './invariant.ts';
import { entryBytes, type RaftLog } from './log.ts';
import type { Output } from './output.ts';
import { type Progress, SEND_ALWAYS, SEND_NOTHING } from './progress.ts';
import type { RaftId, RaftOptions } from './types.ts';

/** Composes a leader's appends and snapshots: what each member is owed, within its window. */
export class Feeder {
  readonly #options: RaftOptions;
  readonly #term: number;
  readonly #log: RaftLog;
  readonly #output: Output;

  constructor(options: RaftOptions, term: number, log: RaftLog, output: Output) {
    this.#options = options;
    this.#term = term;
    this.#log = log;
    this.#output = output;
  }

  owes(progress: Progress): boolean {
    if (progress.send === SEND_NOTHING || progress.isPaused()) return false;
    return progress.send === SEND_ALWAYS || this.#hasNews(progress);
  }

  feed(to: RaftId, progress: Progress): void {
    if (progress.send === SEND_NOTHING || progress.isPaused()) return;
    let even = progress.send === SEND_ALWAYS;
    progress.send = SEND_NOTHING;
    while (this.#sendAppend(to, progress, even)) even = false;
  }

  #hasNews(progress: Progress): boolean {
    return progress.next <= this.#log.lastIndex() || this.#tellsCommit(progress);
  }

  /** Whether even an empty append would move the member's commit index, as far as is known. */
  #tellsCommit(progress: Progress): boolean {
    return Math.min(this.#log.commit, progress.next - 1) > progress.sentCommit;
  }

  /** One append, or a snapshot in its place. False when nothing (more) is to be sent. */
  #sendAppend(to: RaftId, progress: Progress, evenEmpty: boolean): boolean {
    if (progress.isPaused()) return false;
    const prevIndex = progress.next - 1;
    const prevTerm = this.#log.term(prevIndex);
    if (prevTerm === undefined) return this.#sendSnapshot(to, progress);
    // A full window lets only empty appends through, see Leadership.onHeartbeatReply.
    const full = progress.state === 'replicate' && progress.inflights.full();
    const high = full ? progress.next : this.#log.lastIndex() + 1;
    const entries = this.#log.slice(progress.next, high, this.#options.maxMessageBytes);
    if (entries === undefined) return this.#sendSnapshot(to, progress);
    const commit = this.#log.commit;
    if (entries.length === 0 && !evenEmpty && !this.#tellsCommit(progress)) return false;
    this.#output.send({
      type: 'append',
      from: this.#options.id,
      to,
      term: this.#term,
      prevIndex,
      prevTerm,
      commit,
      entries,
    });
    let bytes = 0;
    for (const entry of entries) bytes += entryBytes(entry);
    progress.sent(entries.length, bytes, commit);
    return entries.length > 0;
  }

  #sendSnapshot(to: RaftId, progress: Progress): boolean {
    // Not into the dark: a member that is down would hold up a snapshot's worth of buffers.
    if (!progress.recentActive) return false;
    const snapshot = this.#log.newestSnapshot();
    if (snapshot === undefined) {
      throw broken(`entry ${progress.next} is compacted and there is no snapshot to send`);
    }
    const envelope = { from: this.#options.id, to, term: this.#term };
    this.#output.send({ type: 'snapshot', ...envelope, snapshot });
    progress.becomeSnapshot(snapshot.index);
    return false;
  }
}
