import { broken } from './invariant.ts';
import { malformed, Reader, Writer } from './wire.ts';

const FORMAT = 1;
const OPEN = 0;
const WRITE = 1;
/** Of a session in a snapshot: id, floor, count; of a write that it remembers: sequence and index. */
const LEAST_SESSION_BYTES = 3;
const LEAST_WRITE_BYTES = 2;

/**
 * What a client puts into a log entry so that a retry is not applied twice. A retry repeats session
 * and `seq`, whatever became of the first try and whichever member it is sent through.
 */
export type SessionCommand =
  /** The session's id is the index at which this is applied, so no two are ever equal. */
  | Readonly<{ kind: 'open' }>
  | Readonly<{
      kind: 'write';
      session: number;
      /** From 1 on, a new one for each write, not for a retry. */
      seq: number;
      /** The client knows the outcome of every write below this, and will not retry those. */
      floor: number;
      data: Uint8Array;
    }>;

export type SessionVerdict =
  | Readonly<{ kind: 'opened'; session: number }>
  | Readonly<{ kind: 'apply'; data: Uint8Array }>
  /** Applied before, at `index`; undefined when the client had said that it knows. */
  | Readonly<{ kind: 'repeat'; index: number | undefined }>
  /** Not applied now. `no-session`: nobody knows whether it was applied before. */
  | Readonly<{ kind: 'refused'; reason: 'no-session' | 'too-far-ahead' }>;

export type SessionLimits = Readonly<{
  /** The session that wrote least recently makes room for a new one. */
  maxSessions: number;
  /** Writes that one session may have between its floor and its newest. */
  maxWritesAhead: number;
}>;

type Session = { floor: number; applied: Map<number, number> };

/**
 * The part of a replicated state machine that makes a proposal count once (dissertation 6.3): a
 * forwarded or retried one may be in the log twice. It decides from the log alone, so that all
 * members decide alike, and goes into snapshots with the state that it belongs to.
 */
export class Sessions {
  readonly #limits: SessionLimits;
  /** The one that wrote last comes last. */
  readonly #sessions = new Map<number, Session>();
  #appliedIndex = 0;

  constructor(limits: SessionLimits) {
    this.#limits = limits;
  }

  /** To be called once for each entry with a command, in the order of the log. */
  take(index: number, command: SessionCommand): SessionVerdict {
    if (index <= this.#appliedIndex) throw broken(`entry ${index} is taken by sessions twice`);
    this.#appliedIndex = index;
    if (command.kind === 'open') return this.#open(index);
    const { session: id, seq, floor, data } = command;
    const session = this.#sessions.get(id);
    if (session === undefined) return { kind: 'refused', reason: 'no-session' };
    this.#sessions.delete(id);
    this.#sessions.set(id, session);
    raiseFloor(session, floor);
    if (seq < session.floor) return { kind: 'repeat', index: undefined };
    const before = session.applied.get(seq);
    if (before !== undefined) return { kind: 'repeat', index: before };
    if (seq - session.floor >= this.#limits.maxWritesAhead) {
      return { kind: 'refused', reason: 'too-far-ahead' };
    }
    session.applied.set(seq, index);
    return { kind: 'apply', data };
  }

  #open(index: number): SessionVerdict {
    if (this.#sessions.size >= this.#limits.maxSessions) {
      for (const oldest of this.#sessions.keys()) {
        this.#sessions.delete(oldest);
        break;
      }
    }
    this.#sessions.set(index, { floor: 1, applied: new Map() });
    return { kind: 'opened', session: index };
  }

  /** For a snapshot. Equal states give equal bytes. */
  encode(): Uint8Array {
    const writer = new Writer();
    writer.byte(FORMAT);
    writer.varint(this.#appliedIndex);
    writer.varint(this.#sessions.size);
    for (const [id, { floor, applied }] of this.#sessions) {
      writer.varint(id);
      writer.varint(floor);
      writer.varint(applied.size);
      for (const [seq, index] of applied) {
        writer.varint(seq);
        writer.varint(index);
      }
    }
    return writer.finish();
  }

  /** Throws ShoalError `invalid-argument` for anything that `encode` does not write. */
  static decode(bytes: Uint8Array, limits: SessionLimits): Sessions {
    const reader = new Reader(bytes);
    if (reader.byte() !== FORMAT) throw malformed('a format of sessions that is not known');
    const sessions = new Sessions(limits);
    sessions.#appliedIndex = reader.varint();
    for (let left = reader.count(LEAST_SESSION_BYTES); left > 0; left--) {
      const id = reader.varint();
      const session: Session = { floor: reader.varint(), applied: new Map() };
      for (let writes = reader.count(LEAST_WRITE_BYTES); writes > 0; writes--) {
        session.applied.set(reader.varint(), reader.varint());
      }
      sessions.#sessions.set(id, session);
    }
    reader.end();
    return sessions;
  }
}

function raiseFloor(session: Session, floor: number): void {
  if (floor <= session.floor) return;
  session.floor = floor;
  for (const seq of session.applied.keys()) if (seq < floor) session.applied.delete(seq);
}

export function encodeSessionCommand(command: SessionCommand): Uint8Array {
  const writer = new Writer(command.kind === 'write' ? command.data.length + 32 : 0);
  writer.byte(FORMAT);
  if (command.kind === 'open') {
    writer.byte(OPEN);
    return writer.finish();
  }
  writer.byte(WRITE);
  writer.varint(command.session);
  writer.varint(command.seq);
  writer.varint(command.floor);
  writer.blob(command.data);
  return writer.finish();
}

/** Throws ShoalError `invalid-argument` for anything that `encodeSessionCommand` does not write. */
export function decodeSessionCommand(bytes: Uint8Array): SessionCommand {
  const reader = new Reader(bytes);
  if (reader.byte() !== FORMAT) throw malformed('a format of commands that is not known');
  const command = readCommand(reader);
  reader.end();
  return command;
}

function readCommand(reader: Reader): SessionCommand {
  const kind = reader.byte();
  if (kind === OPEN) return { kind: 'open' };
  if (kind !== WRITE) throw malformed(`unknown kind of command ${kind}`);
  const session = reader.varint();
  const seq = reader.varint();
  const floor = reader.varint();
  return { kind: 'write', session, seq, floor, data: reader.blob() };
}
