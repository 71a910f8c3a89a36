import type { LogMessage } from '../../shared/gen/shoal/v1/logs.ts';

/** What may wait for the ends of lines, of one line and of all: past it a line is shown in pieces. */
const LINE_BYTES_MAX = 1 << 20;
const HELD_BYTES_MAX = 8 << 20;

type Open = { readonly first: LogMessage; readonly parts: Uint8Array[]; bytes: number };

/**
 * Whole lines from parts: those of one line come between the lines of other tasks, and a client that prints
 * what it gets would mix them. Each line keeps the time of its first part. One that is too long comes in
 * pieces, each but the last still `partial`.
 */
export class LineJoiner {
  readonly #open = new Map<string, Open>();
  #heldBytes = 0;

  /** The line or piece that this part completes; undefined while it waits for its end. */
  push(message: LogMessage): LogMessage | undefined {
    const key = `${message.taskId} ${message.stream}`;
    const open = this.#open.get(key);
    if (open === undefined && !message.partial) return message;
    const line = open ?? { first: message, parts: [], bytes: 0 };
    line.parts.push(message.data);
    line.bytes += message.data.length;
    this.#heldBytes += message.data.length;
    const hasRoom = line.bytes < LINE_BYTES_MAX && this.#heldBytes < HELD_BYTES_MAX;
    if (message.partial && hasRoom) {
      this.#open.set(key, line);
      return undefined;
    }
    this.#open.delete(key);
    this.#heldBytes -= line.bytes;
    return { ...line.first, data: Buffer.concat(line.parts), partial: message.partial };
  }

  /** Lines whose ends never came. */
  rest(): LogMessage[] {
    const lines = [...this.#open.values()].map(({ first, parts }) => ({
      ...first,
      data: Buffer.concat(parts),
    }));
    this.#open.clear();
    this.#heldBytes = 0;
    return lines;
  }
}
