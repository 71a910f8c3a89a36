import { ShoalError } from '../../shared/errors.ts';
import type { RaftMember } from '../../shared/gen/shoal/v1/peer.ts';
import { bootstrapState, forceNewCluster } from './bootstrap.ts';
import type { CompactionPolicy } from './compaction.ts';
import type { LoadedState } from './durable-log.ts';
import { type Directory, decodeDirectory, encodeDirectory, idOf } from './members.ts';
import type { NodeStorage, NoteReader } from './ports.ts';
import { parseRaftId, type RaftId, type RaftOptions } from './types.ts';

/** How a member comes to its log. With a log of the same member there already, that one goes on. */
export type NodeStart =
  /** The first member of a new cluster; `state` is the state machine's, as it begins. */
  | Readonly<{
      kind: 'bootstrap';
      member: RaftMember;
      state: readonly Uint8Array[];
      /** Where the log begins; default 1. Of a restored cluster: above the state's own index. */
      index?: number;
    }>
  /** A new member of a cluster whose leader was asked to add it; `members` as that answered. */
  | Readonly<{ kind: 'join'; member: RaftMember; members: readonly RaftMember[] }>
  | Readonly<{ kind: 'restart' }>
  /** Goes on as the only member: the others are lost. `member` has the addresses it has now. */
  | Readonly<{ kind: 'force-new'; member: RaftMember }>;

export type NodeTiming = Readonly<{
  tickMs: number;
  electionTicks: number;
  heartbeatTicks: number;
  /**
   * How a leader makes sure that it still is one before a read: by asking a quorum (`quorum`, when left
   * out), or by what a quorum promised less than an election timeout ago (`lease`), which saves a round
   * of messages for each read and trusts that no member's clock runs away or stands still.
   */
  readMode?: RaftOptions['readMode'];
}>;
/** DESIGN section 6. */
export const DEFAULT_TIMING: NodeTiming = { tickMs: 100, electionTicks: 10, heartbeatTicks: 1 };

export type NodeConfig = Readonly<{
  start: NodeStart;
  clusterId: string;
  timing: NodeTiming;
  compaction: CompactionPolicy;
}>;

const LIMITS = {
  preVote: true,
  checkQuorum: true,
  maxMessageBytes: 512 << 10,
  maxInflightMessages: 256,
  maxInflightBytes: 8 << 20,
  maxUncommittedBytes: 32 << 20,
  maxApplyingBytes: 2 << 20,
  maxPendingReads: 4_096,
} as const satisfies Partial<RaftOptions>;

export function optionsOf({ timing }: NodeConfig, id: RaftId): RaftOptions {
  const { electionTicks, heartbeatTicks, readMode = 'quorum' } = timing;
  return { ...LIMITS, id, electionTicks, heartbeatTicks, readMode };
}

const IDENTITY_NOTE = 'identity';
const DIRECTORY_NOTE = 'directory';
const REMOVED_NOTE = 'removed';

export type Prepared = Readonly<{ id: RaftId; state: LoadedState; directory: Directory }>;

/** Loads what is on disk, after writing there what a new member begins with. */
export function prepare({ start, clusterId }: NodeConfig, storage: NodeStorage): Prepared {
  let state = storage.load();
  const noted = decodeIdentity(storage.note(IDENTITY_NOTE));
  if (storage.note(REMOVED_NOTE) !== undefined) {
    throw refusal('this manager was removed from the cluster: it must join as a new member');
  }
  if (noted !== undefined && noted.clusterId !== clusterId) {
    throw refusal(`the Raft log is of cluster ${noted.clusterId}, this node is of ${clusterId}`);
  }
  if (start.kind === 'restart' || start.kind === 'force-new') {
    if (noted === undefined) throw refusal('there is no Raft log to start from: join the cluster');
    if (start.kind === 'force-new') {
      if (idOf(start.member) !== noted.id) throw refusal(`the Raft log is that of ${noted.id}`);
      forceNewCluster(storage, state, start.member);
      state = storage.load();
    }
    return { id: noted.id, state, directory: notedDirectory(storage) };
  }
  const id = idOf(start.member);
  if (noted !== undefined && noted.id !== id) {
    throw refusal(`the Raft log is that of member ${noted.id}, not of ${id}`);
  }
  const known = start.kind === 'join' ? [...start.members, start.member] : [start.member];
  const directory = {
    members: [...new Map(known.map((m) => [m.raftId, m])).values()],
    removed: [],
  };
  storage.putNote(DIRECTORY_NOTE, encodeDirectory(directory));
  storage.putNote(IDENTITY_NOTE, encodeText(`${id} ${clusterId}`));
  if (start.kind === 'bootstrap' && state.snapshot === undefined) {
    const { hardState, snapshot } = bootstrapState([id], start.index);
    const body = [encodeDirectory(directory), ...start.state];
    storage.append({ hardState, snapshot: { meta: snapshot, body }, entries: [] });
    state = storage.load();
  }
  return { id, state, directory };
}

function notedDirectory(storage: NodeStorage): Directory {
  const note = storage.note(DIRECTORY_NOTE);
  return note === undefined ? { members: [], removed: [] } : decodeDirectory(note);
}

function decodeIdentity(
  note: Uint8Array | undefined,
): { id: RaftId; clusterId: string } | undefined {
  if (note === undefined) return undefined;
  const text = new TextDecoder().decode(note);
  const at = text.indexOf(' ');
  return { id: parseRaftId(text.slice(0, at)), clusterId: text.slice(at + 1) };
}

function encodeText(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function refusal(why: string): ShoalError {
  return new ShoalError('failed-precondition', why);
}

/** From now on this log is not started from any more. */
export function noteRemoved(storage: NodeStorage, why: string): void {
  storage.putNote(REMOVED_NOTE, encodeText(why));
}

export type LogOwner = Readonly<{ raftId: RaftId; clusterId: string; removed: boolean }>;

/** Whose log it is; undefined for one that was never begun. */
export function ownerOf(storage: NoteReader): LogOwner | undefined {
  const noted = decodeIdentity(storage.note(IDENTITY_NOTE));
  if (noted === undefined) return undefined;
  const removed = storage.note(REMOVED_NOTE) !== undefined;
  return { raftId: noted.id, clusterId: noted.clusterId, removed };
}
