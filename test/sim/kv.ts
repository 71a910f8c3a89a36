/** The state machine of the simulations: registers behind the production sessions. */
import {
  decodeSessionCommand,
  encodeSessionCommand,
  type Sessions,
} from '../../manager/raft/sessions.ts';

/** One write of one client. Its id, by which entries name it, is also the value it writes. */
export type Command = Readonly<{
  id: number;
  session: number;
  /** Counts the writes of the session, from 1; all tries of one write have the same. */
  seq: number;
  kind: 'put' | 'cas';
  key: number;
  expected: number;
}>;

const ID_BYTES = 4;

/** All commands of a run, so that an entry need carry no more than an id. */
export class Commands {
  readonly #list: Command[] = [];

  add(command: Omit<Command, 'id'>): Command {
    const known = { ...command, id: this.#list.length + 1 };
    this.#list.push(known);
    return known;
  }

  get(id: number): Command {
    const command = this.#list[id - 1];
    if (command === undefined) throw new Error(`an entry names command ${id}, which nobody gave`);
    return command;
  }
}

export const OPEN_SESSION = encodeSessionCommand({ kind: 'open' });

/** What goes into the log. `padding` bytes follow the id, so that limits on bytes are met. */
export function encodeCommand({ id, session, seq }: Command, padding: number): Uint8Array {
  const data = new Uint8Array(ID_BYTES + padding);
  for (let i = 0; i < ID_BYTES; i++) data[i] = (id >>> (8 * i)) & 0xff;
  // One write at a time: whatever came before will not be tried again.
  return encodeSessionCommand({ kind: 'write', session, seq, floor: seq, data });
}

function idOf(data: Uint8Array): number {
  let id = 0;
  for (let i = ID_BYTES - 1; i >= 0; i--) id = (id << 8) | (data[i] ?? 0);
  return id;
}

/** What became of an entry. `again`: it had been applied before, so that nothing happened now. */
export type Applied =
  | Readonly<{ kind: 'opened'; output: number; command: 0 }>
  | Readonly<{ kind: 'done'; output: number; command: number; again: boolean }>
  /** Nobody can tell any more whether it was applied before; now it was not. */
  | Readonly<{ kind: 'no-session'; command: number }>;

/** Applied state. */
export class KvMachine {
  readonly #sessions: Sessions;
  readonly #registers: number[] = [];
  /** Indexes at which a swap won: what its repetition is answered. */
  readonly #won = new Set<number>();

  constructor(sessions: Sessions) {
    this.#sessions = sessions;
  }

  get(key: number): number {
    return this.#registers[key] ?? 0;
  }

  /** What the entry at `index` was answered. */
  outputAt(index: number): number {
    return this.#won.has(index) ? 1 : 0;
  }

  apply(index: number, data: Uint8Array, commands: Commands): Applied {
    const command = decodeSessionCommand(data);
    const id = command.kind === 'write' ? idOf(command.data) : 0;
    const verdict = this.#sessions.take(index, command);
    switch (verdict.kind) {
      case 'opened':
        return { kind: 'opened', output: verdict.session, command: 0 };
      case 'refused':
        return { kind: 'no-session', command: id };
      case 'repeat': {
        const output = verdict.index === undefined ? 0 : this.outputAt(verdict.index);
        return { kind: 'done', output, command: id, again: true };
      }
      case 'apply': {
        const output = this.#execute(index, commands.get(id));
        return { kind: 'done', output, command: id, again: false };
      }
    }
  }

  #execute(index: number, { id, kind, key, expected }: Command): number {
    if (kind === 'cas' && this.get(key) !== expected) return 0;
    while (this.#registers.length <= key) this.#registers.push(0);
    this.#registers[key] = id;
    if (kind === 'put') return 0;
    this.#won.add(index);
    return 1;
  }

  /** Equal for equal registers, and hardly ever for others. */
  digest(): number {
    let state = 0x811c9dc5 ^ this.#won.size;
    for (const value of this.#registers) state = Math.imul(state ^ value, 0x01000193);
    return state >>> 0;
  }

  /** Sessions first, then numbers: two chunks. */
  encode(): [sessions: Uint8Array, numbers: Uint8Array] {
    const numbers = [this.#registers.length, ...this.#registers, ...this.#won];
    return [this.#sessions.encode(), new Uint8Array(Float64Array.from(numbers).buffer)];
  }

  static decode(sessions: Sessions, bytes: Uint8Array): KvMachine {
    const machine = new KvMachine(sessions);
    const [count = 0, ...numbers] = new Float64Array(bytes.slice().buffer);
    for (const value of numbers.slice(0, count)) machine.#registers.push(value);
    for (const index of numbers.slice(count)) machine.#won.add(index);
    return machine;
  }
}
