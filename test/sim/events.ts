import type { Message } from '../../manager/raft/types.ts';

/** What an event is about: a message, numbers, or a word. Written out only when a run has failed. */
export type EventDetail = Message | string | number | undefined;
type Event = Readonly<{ atMs: number; who: string; what: string; detail: EventDetail }>;

const KEPT = 400;

/** The last things that happened in a run, for whoever must find out why it failed. */
export class EventLog {
  readonly #ring: Event[] = [];
  #at = 0;

  note(atMs: number, who: string, what: string, detail: EventDetail): void {
    this.#ring[this.#at] = { atMs, who, what, detail };
    this.#at = (this.#at + 1) % KEPT;
  }

  /** Oldest first; `nameOf` shortens ids. */
  last(count: number, nameOf: (id: string) => string): string[] {
    const all = [...this.#ring.slice(this.#at), ...this.#ring.slice(0, this.#at)];
    return all
      .slice(-count)
      .map(
        ({ atMs, who, what, detail }) =>
          `${atMs.toFixed(1).padStart(9)} ms  ${nameOf(who).padEnd(4)} ${what} ${describe(detail, nameOf)}`,
      );
  }
}

function describe(detail: EventDetail, nameOf: (id: string) => string): string {
  if (detail === undefined) return '';
  if (typeof detail !== 'object') return nameOf(String(detail));
  const { type, from, to, term, ...rest } = detail;
  const fields = Object.entries(rest).map(([key, value]) => `${key} ${inShort(value, nameOf)}`);
  return `${type} ${nameOf(from)}>${nameOf(to)} t${term} ${fields.join(' ')}`;
}

function inShort(value: unknown, nameOf: (id: string) => string): string {
  if (Array.isArray(value)) return `[${value.map((one) => inShort(one, nameOf)).join(' ')}]`;
  if (value instanceof Uint8Array) return `${value.length} B`;
  if (typeof value === 'object' && value !== null) {
    const { index, term } = value as { index?: number; term?: number };
    return index === undefined ? JSON.stringify(value) : `${index}/t${term}`;
  }
  return nameOf(String(value));
}
