import { unreachable } from '../../shared/unreachable.ts';
import type { RaftCore } from './core.ts';
import { refusedForRoom } from './full-disk.ts';
import type { NodeAdmin } from './node-admin.ts';
import type { NodeApplying } from './node-applying.ts';
import type { NodeProposals } from './node-proposals.ts';
import type { NodeSnapshots } from './node-snapshots.ts';
import type { NodeStorage } from './ports.ts';
import { type FromNode, type ToNode, unpack } from './protocol.ts';
import { parseRaftId } from './types.ts';

export type InboxPorts = Readonly<{
  raft: RaftCore;
  storage: NodeStorage;
  proposals: NodeProposals;
  admin: NodeAdmin;
  snapshots: NodeSnapshots;
  applying: NodeApplying;
  /** Waits for room on the disk: nothing could be answered. */
  isParked: () => boolean;
  post: (event: FromNode) => void;
  close: () => void;
}>;

/** Hands what the client posted to those whom it concerns. */
export class NodeInbox {
  readonly #ports: InboxPorts;

  constructor(ports: InboxPorts) {
    this.#ports = ports;
  }

  take(message: ToNode): void {
    const { storage, raft, proposals, admin, snapshots, applying, post } = this.#ports;
    // A disk may have room for others, and none for what this member waits to write.
    const hasNoRoom = storage.full || this.#ports.isParked();
    const refused = hasNoRoom ? refusedForRoom(message) : undefined;
    if (refused !== undefined) {
      post(refused);
      return;
    }
    switch (message.kind) {
      case 'propose':
        proposals.propose(message.firstId, unpack(message.lengths, message.bytes));
        break;
      case 'read':
        if (!this.#ports.isParked()) raft.readIndex(message.context);
        else post({ kind: 'read-dropped', context: message.context });
        break;
      case 'applied':
        applying.acknowledge(message.index);
        raft.applied(message.index);
        snapshots.applied(message.index);
        break;
      case 'add-member':
        admin.add(message.id, message.member);
        break;
      case 'remove-member':
        admin.remove(message.id, parseRaftId(message.raftId));
        break;
      case 'transfer':
        admin.transfer(message.id, message.to === undefined ? undefined : parseRaftId(message.to));
        break;
      case 'snapshot-begin':
        snapshots.begin(message.index);
        break;
      case 'snapshot-chunk':
        snapshots.chunk(message.chunk);
        break;
      case 'snapshot-end':
        snapshots.end(message.ok);
        break;
      case 'compaction':
        snapshots.policy = message.policy;
        break;
      case 'set-kek':
        if (storage.setKek(message.kek)) snapshots.replaceAll();
        break;
      case 'close':
        this.#ports.close();
        break;
      default:
        unreachable(message);
    }
  }
}
