import type { LoadedState, SnapshotBody } from './durable-log.ts';
import { broken } from './invariant.ts';
import { decodeDirectory, type MemberBook } from './members.ts';
import type { NodeProposals } from './node-proposals.ts';
import type { NodeSnapshots } from './node-snapshots.ts';
import type { NodeStorage } from './ports.ts';
import { type FromNode, pack } from './protocol.ts';
import type { Entry } from './types.ts';

export type ApplyingPorts = Readonly<{
  storage: NodeStorage;
  book: MemberBook;
  proposals: NodeProposals;
  snapshots: NodeSnapshots;
  post: (event: FromNode) => void;
  applyChange: (entry: Entry) => void;
}>;

type SnapshotPlace = NonNullable<LoadedState['snapshot']>;

/** What the state machine is given, in order: committed entries, and snapshots to start over from. */
export class NodeApplying {
  readonly #ports: ApplyingPorts;
  #handedOut = 0;
  #applied = 0;

  constructor(ports: ApplyingPorts) {
    this.#ports = ports;
  }

  /** The newest entry that the state machine was given, or has by its snapshot. */
  get handedOut(): number {
    return this.#handedOut;
  }

  /** The newest entry that the state machine said it has applied. */
  get applied(): number {
    return this.#applied;
  }

  acknowledge(index: number): void {
    this.#applied = Math.max(this.#applied, index);
  }

  handOut(entries: readonly Entry[]): void {
    const { proposals, snapshots, applyChange, post } = this.#ports;
    const [first] = entries;
    if (first === undefined || first.index <= this.#handedOut) return;
    const done: number[] = [];
    const parts: Uint8Array[] = [];
    for (const entry of entries) {
      if (entry.type === 'conf-change') {
        applyChange(entry);
        parts.push(NOTHING);
        continue;
      }
      parts.push(entry.data);
      const id = proposals.take(entry);
      if (id !== undefined) done.push(id, entry.index);
    }
    this.#handedOut = first.index + entries.length - 1;
    snapshots.handedOut(entries);
    post({ kind: 'entries', first: first.index, ...pack(parts), done });
  }

  /** The state machine starts over from a snapshot that is the newest on disk. */
  restore({ index, term, confState }: SnapshotPlace): void {
    const [directory, ...chunks] = this.bodyOf({ index, term });
    if (directory === undefined) throw broken(`snapshot ${index} is empty`);
    this.#ports.book.reset(index, confState, decodeDirectory(directory));
    this.#handedOut = index;
    this.#ports.post({ kind: 'restore', index, chunks });
  }

  /** Of one that is on disk: it was written before its message was taken. */
  bodyOf(name: Pick<SnapshotPlace, 'index' | 'term'>): SnapshotBody {
    const body = this.#ports.storage.openSnapshot(name);
    if (body === undefined) throw broken(`the body of snapshot ${name.index} is gone`);
    return body;
  }
}

const NOTHING = new Uint8Array(0);
