import { Inflights } from './inflights.ts';
import type { ConfState, ProgressState, ProgressView, RaftId, RaftOptions } from './types.ts';

/** What the next flush owes to a member. */
export const SEND_NOTHING = 0;
/** New entries or news of the commit index, when there are any. */
export const SEND_NEWS = 1;
/** An append even when it is empty: its answer tells where that member really is. */
export const SEND_ALWAYS = 2;
type Send = typeof SEND_NOTHING | typeof SEND_NEWS | typeof SEND_ALWAYS;

/**
 * In a heartbeat's time. Each may cost a window sent again, whose appends, out of order, may each be
 * refused again: without a bound, messages that overtake each other can multiply.
 */
const MAX_SETBACKS = 2;

/**
 * What a leader knows of one member's log, and how it feeds it.
 *
 * - `probe`: where the logs meet is not known; one append at a time, the next after an answer or a
 *   heartbeat's answer.
 * - `replicate`: appends are sent ahead of their answers, within the window of `inflights`.
 * - `snapshot`: a snapshot is on its way; nothing else until it is reported or acknowledged.
 *
 * Always `match < next`; everything below `next` was sent, everything up to `match` is on its disk.
 */
export class Progress {
  state: ProgressState = 'probe';
  match = 0;
  next: number;
  /** Index of the snapshot being sent, while in `snapshot`. */
  pendingSnapshot = 0;
  /** Heard from since the last check of the quorum. */
  recentActive = false;
  /** Nothing more until an answer of any kind: a probe is out, or the window is full. */
  paused = false;
  /** Highest commit index that an append has told it. */
  sentCommit = 0;
  /** Newest read position that it acknowledged. */
  readAck = 0;
  send: Send = SEND_NOTHING;
  /** Refusals since the last heartbeat while appends were sent ahead. */
  setbacks = 0;
  readonly inflights: Inflights;

  constructor(next: number, options: RaftOptions) {
    this.next = next;
    this.inflights = new Inflights(options.maxInflightMessages, options.maxInflightBytes);
  }

  want(send: Send): void {
    if (send > this.send) this.send = send;
  }

  /** False while its refusals come too fast: one append at a time will do until the next heartbeat. */
  mayReplicate(): boolean {
    return this.setbacks < MAX_SETBACKS;
  }

  isPaused(): boolean {
    return this.state === 'snapshot' || this.paused;
  }

  becomeProbe(): void {
    // After a snapshot the probe starts behind it: it may have arrived although nobody said so.
    const after = this.state === 'snapshot' ? this.pendingSnapshot : 0;
    this.#reset('probe');
    this.next = Math.max(this.match, after) + 1;
    this.sentCommit = Math.min(this.sentCommit, this.match);
  }

  becomeReplicate(): void {
    this.#reset('replicate');
    this.next = this.match + 1;
  }

  becomeSnapshot(index: number): void {
    this.#reset('snapshot');
    this.pendingSnapshot = index;
    this.next = index + 1;
    this.sentCommit = index;
  }

  /** An acknowledgement of everything up to `index`. False when it says nothing new. */
  update(index: number): boolean {
    if (index <= this.match) return false;
    this.match = index;
    this.next = Math.max(this.next, index + 1);
    this.paused = false;
    return true;
  }

  /**
   * A refusal of the append that followed `rejected`, with the best guess of where logs can meet.
   * False when it is old: it answers an append that another answer has already overtaken.
   */
  decrease(rejected: number, hint: number): boolean {
    if (this.state === 'replicate') {
      // `next` runs ahead here, so it does not tell which append was refused; but one at or before
      // `match` was acknowledged since, and one past `next` belongs to an earlier pipeline.
      if (rejected <= this.match || rejected >= this.next) return false;
      this.setbacks++;
      this.next = this.match + 1;
    } else {
      if (this.next - 1 !== rejected) return false;
      this.next = Math.max(Math.min(rejected, hint + 1), this.match + 1);
      this.paused = false;
    }
    this.sentCommit = Math.min(this.sentCommit, this.next - 1);
    return true;
  }

  /** An append with `count` entries, `bytes` long, telling `commit`, was sent from `next` on. */
  sent(count: number, bytes: number, commit: number): void {
    const last = this.next - 1 + count;
    if (this.state === 'replicate') {
      if (count > 0) {
        this.next = last + 1;
        this.inflights.add(last, bytes);
      }
      this.paused = this.inflights.full();
    } else {
      // Also after an empty probe: else each commit would send another one into the dark.
      this.paused = true;
    }
    this.sentCommit = Math.max(this.sentCommit, Math.min(commit, last));
  }

  view(id: RaftId, { learners }: ConfState, isSelf: boolean): ProgressView {
    return {
      id,
      learner: learners.includes(id),
      state: this.state,
      match: this.match,
      next: this.next,
      recentActive: isSelf || this.recentActive,
      inflight: this.inflights.count,
    };
  }

  #reset(state: ProgressState): void {
    this.state = state;
    this.pendingSnapshot = 0;
    this.paused = false;
    this.inflights.clear();
  }
}
