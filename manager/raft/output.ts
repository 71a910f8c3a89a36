import { unreachable } from '../../shared/unreachable.ts';
import type {
  DroppedRead,
  ForwardOutcome,
  Message,
  ReadDropReason,
  ReadState,
  Ready,
} from './types.ts';

/**
 * Whether a message may leave before this node's state is on disk. All others vouch for something
 * that a crash must not take back: a vote, entries, a term. That goes for vote requests too: they
 * claim a last index, and the votes they win may arrive after the crash that lost those entries.
 */
function mayLeaveBeforeSync(message: Message): boolean {
  switch (message.type) {
    case 'append':
    case 'heartbeat':
    case 'snapshot':
    case 'timeout-now':
    case 'read-index':
    case 'read-index-reply':
    case 'propose':
    case 'propose-reply':
      return true;
    case 'vote':
    case 'pre-vote':
    case 'vote-reply':
    case 'pre-vote-reply':
    case 'append-reply':
    case 'heartbeat-reply':
      return false;
    default:
      return unreachable(message);
  }
}

const NONE: readonly never[] = [];

type Taken = Pick<
  Ready,
  'messages' | 'messagesAfterSync' | 'readStates' | 'droppedReads' | 'forwarded'
>;

/** What has piled up for the next `Ready`. */
export class Output {
  #messages: Message[] = [];
  #messagesAfterSync: Message[] = [];
  #readStates: ReadState[] = [];
  #droppedReads: DroppedRead[] = [];
  #forwarded: ForwardOutcome[] = [];

  send(message: Message): void {
    if (mayLeaveBeforeSync(message)) this.#messages.push(message);
    else this.#messagesAfterSync.push(message);
  }

  answerRead(context: number, index: number): void {
    this.#readStates.push({ context, index });
  }

  dropRead(context: number, reason: ReadDropReason): void {
    this.#droppedReads.push({ context, reason });
  }

  forwarded(outcome: ForwardOutcome): void {
    this.#forwarded.push(outcome);
  }

  isEmpty(): boolean {
    return (
      this.#messages.length === 0 &&
      this.#messagesAfterSync.length === 0 &&
      this.#readStates.length === 0 &&
      this.#droppedReads.length === 0 &&
      this.#forwarded.length === 0
    );
  }

  take(): Taken {
    const messages = this.#messages;
    const messagesAfterSync = this.#messagesAfterSync;
    const readStates = this.#readStates;
    const droppedReads = this.#droppedReads;
    const forwarded = this.#forwarded;
    // Most are empty most of the time: those stay, and something that never changes is given out.
    if (messages.length > 0) this.#messages = [];
    if (messagesAfterSync.length > 0) this.#messagesAfterSync = [];
    if (readStates.length > 0) this.#readStates = [];
    if (droppedReads.length > 0) this.#droppedReads = [];
    if (forwarded.length > 0) this.#forwarded = [];
    return {
      messages: messages.length > 0 ? messages : NONE,
      messagesAfterSync: messagesAfterSync.length > 0 ? messagesAfterSync : NONE,
      readStates: readStates.length > 0 ? readStates : NONE,
      droppedReads: droppedReads.length > 0 ? droppedReads : NONE,
      forwarded: forwarded.length > 0 ? forwarded : NONE,
    };
  }
}
