import { ShoalError } from '../../shared/errors.ts';
import type { Assignments } from '../../shared/gen/shoal/v1/dispatcher.ts';

/**
 * Puts the messages of one session together: chunks of a complete set become one, and a number that does not
 * follow the last one is an error, because something was lost between.
 */
export class AssignmentJoiner {
  #sequence = 0;
  #chunks: Assignments[] = [];

  /** The message to apply; undefined while chunks are missing. Throws ShoalError `internal` on a gap. */
  take(message: Assignments): Assignments | undefined {
    if (message.appliesTo !== this.#sequence) {
      throw new ShoalError(
        'internal',
        `assignments apply to ${message.appliesTo}, this node is at ${this.#sequence}`,
      );
    }
    this.#sequence = message.resultsIn;
    if (!message.complete) return message;
    this.#chunks.push(message);
    if (message.more) return undefined;
    const changes = this.#chunks.flatMap((chunk) => chunk.changes);
    this.#chunks = [];
    return { ...message, changes };
  }
}
