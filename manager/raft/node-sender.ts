import type { Clock, Timer } from '../../shared/clock.ts';
import type { SnapshotBody } from './durable-log.ts';
import type { NodeStorage, PeerTransport } from './ports.ts';
import { SnapshotPace } from './snapshot-pace.ts';
import type { Message, RaftId, SnapshotMeta, SnapshotRequest } from './types.ts';

/**
 * How long a message that nobody's answer waits for may lie, so that the next one can take its place:
 * of one write after another every member then hears, and answers, once and not twice. Below the 5 ms
 * by which the loops of a manager collect changes.
 */
const LINGER_MS = 4;

export type SenderPorts = Readonly<{
  clock: Clock;
  transport: PeerTransport;
  storage: NodeStorage;
  /** How the sending of a snapshot ended. */
  snapshotEnded: (to: RaftId, ok: boolean) => void;
  /** The snapshot that a message is about is not kept any more: a newer one has taken its place. */
  snapshotGone: (to: RaftId) => void;
  /** What is kept of it cannot be read. */
  snapshotDamaged: (snapshot: SnapshotMeta) => void;
}>;

/** Sends what the core has for the other members, and decides when it leaves. */
export class NodeSender {
  readonly #ports: SenderPorts;
  /** Of each member the newest that may linger. */
  readonly #held = new Map<RaftId, Message>();
  readonly #pace: SnapshotPace;
  #lingering: Timer | undefined;

  constructor(ports: SenderPorts) {
    this.#ports = ports;
    this.#pace = new SnapshotPace({ clock: ports.clock, report: ports.snapshotEnded });
  }

  send(messages: readonly Message[]): void {
    if (messages.length === 0) return;
    if (messages.every(canLinger)) {
      for (const message of messages) this.#held.set(message.to, message);
      this.#lingering ??= this.#ports.clock.after(LINGER_MS, () => this.#release());
      return;
    }
    // The next append tells all that the one held does, and its answer answers both.
    for (const { type, to } of messages) if (type === 'append') this.#held.delete(to);
    this.#sendHeld();
    const { transport } = this.#ports;
    for (const message of messages) {
      if (message.type === 'snapshot') this.#sendSnapshot(message);
      else transport.send(message);
    }
    transport.flush();
  }

  snapshotSent(to: RaftId, ok: boolean): void {
    this.#pace.ended(to, ok);
  }

  /** Leads no more: only leaders send snapshots. */
  unseated(): void {
    this.#pace.stop();
  }

  stop(): void {
    this.#dropHeld();
    this.#pace.stop();
  }

  #dropHeld(): void {
    this.#held.clear();
    this.#lingering?.cancel();
    this.#lingering = undefined;
  }

  #release(): void {
    this.#lingering = undefined;
    this.#sendHeld();
    this.#ports.transport.flush();
  }

  #sendHeld(): void {
    for (const message of this.#held.values()) this.#ports.transport.send(message);
    this.#dropHeld();
  }

  #sendSnapshot(message: SnapshotRequest): void {
    const body = this.#ports.storage.openSnapshot(message.snapshot);
    if (body === undefined) this.#ports.snapshotGone(message.to);
    else {
      this.#pace.begun(message.to);
      this.#ports.transport.sendSnapshot(message, this.#watched(message.snapshot, body));
    }
  }

  *#watched(meta: SnapshotMeta, body: SnapshotBody): Generator<Uint8Array> {
    try {
      yield* body;
    } catch (error) {
      this.#ports.snapshotDamaged(meta);
      throw error;
    }
  }
}

/** An append without entries tells what is committed: nobody waits for it but the member itself. */
function canLinger(message: Message): boolean {
  return message.type === 'append' && message.entries.length === 0;
}
