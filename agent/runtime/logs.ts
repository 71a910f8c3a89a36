import type { LogLine, LogQuery } from './types.ts';

// The log helper's lines: `2026-11-21T01:56:58.885364036Z stdout F text`.
const TIME_LENGTH = 30;
const HEAD_LENGTH = TIME_LENGTH + ' stdout F '.length;
const NEWLINE = 10;
/** Longer than any line the helper writes (16 KiB and the head); more without a newline is not a log. */
const MAX_LINE_BYTES = 64 << 10;

/** One line without its newline; undefined for what the helper did not write (a torn line). */
export function parseLogLine(line: Uint8Array): LogLine | undefined {
  if (line.length < HEAD_LENGTH) return undefined;
  const head = String.fromCharCode(...line.subarray(0, HEAD_LENGTH));
  const at = head.slice(0, TIME_LENGTH);
  const match = / (stdout|stderr) ([FP]) $/.exec(head);
  if (match === null || Number.isNaN(Date.parse(at))) return undefined;
  return {
    stream: match[1] === 'stdout' ? 1 : 2,
    at,
    data: line.subarray(HEAD_LENGTH),
    partial: match[2] === 'P',
  };
}

/** Milliseconds since 1970, with the fraction that a number can hold. */
export function logTimeMs(at: string): number {
  return Date.parse(`${at.slice(0, 19)}Z`) + Number(at.slice(20, -1)) / 1e6;
}

/** `after`: this line and all that follow are past the query's end. */
export function judgeLine(line: LogLine, query: LogQuery): 'show' | 'skip' | 'after' {
  if (query.sinceMs > 0 || query.untilMs > 0) {
    const atMs = logTimeMs(line.at);
    if (query.untilMs > 0 && atMs > query.untilMs) return 'after';
    if (atMs < query.sinceMs) return 'skip';
  }
  return (line.stream === 1 ? query.stdout : query.stderr) ? 'show' : 'skip';
}

/** Cuts chunks into lines; an unfinished one waits for the next chunk. Lines may be views of the chunks. */
export class LineCutter {
  #held: Uint8Array = new Uint8Array();

  push(chunk: Uint8Array): Uint8Array[] {
    const lines: Uint8Array[] = [];
    let from = 0;
    for (;;) {
      const end = chunk.indexOf(NEWLINE, from);
      if (end < 0) break;
      const piece = chunk.subarray(from, end);
      lines.push(this.#held.length === 0 ? piece : join(this.#held, piece));
      this.#held = new Uint8Array();
      from = end + 1;
    }
    const rest = chunk.subarray(from);
    if (this.#held.length + rest.length <= MAX_LINE_BYTES) this.#held = join(this.#held, rest);
    else this.#held = new Uint8Array();
    return lines;
  }

  /** Forgets an unfinished line: the file it is of goes no further. */
  reset(): void {
    this.#held = new Uint8Array();
  }
}

/**
 * Where in a block (read backwards from a file's end) the last `wanted` lines begin. `atEnd`: the block's last
 * byte is the file's last, whose newline ends a line and does not begin one.
 */
export function findTail(
  block: Uint8Array,
  wanted: number,
  atEnd: boolean,
): { start: number } | { found: number } {
  let found = 0;
  let at = block.length - 1;
  if (atEnd && block[at] === NEWLINE) at -= 1;
  for (; at >= 0; at -= 1) {
    if (block[at] !== NEWLINE) continue;
    found += 1;
    if (found === wanted) return { start: at + 1 };
  }
  return { found };
}

/** Names of a container's log files among those of its folder, the oldest first. */
export function logFileNames(names: readonly string[]): string[] {
  const number = (name: string) => Number(name.slice('log.'.length) || 0);
  return names
    .filter((name) => /^log(\.[1-9]\d*)?$/.test(name))
    .sort((a, b) => number(b) - number(a));
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  const joined = new Uint8Array(a.length + b.length);
  joined.set(a);
  joined.set(b, a.length);
  return joined;
}
