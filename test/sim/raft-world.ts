import type { CompactionPolicy } from '../../manager/raft/compaction.ts';
import type { RaftStart } from '../../manager/raft/core.ts';
import type { SessionLimits, Sessions } from '../../manager/raft/sessions.ts';
import type { Message, Raft, RaftOptions } from '../../manager/raft/types.ts';
import type { VirtualClock } from './clock.ts';
import type { EventLog } from './events.ts';
import type { Commands } from './kv.ts';
import type { SimNetwork } from './network.ts';
import type { RaftChecks } from './raft-checks.ts';

export type WriteRequest = Readonly<{
  kind: 'write';
  /** 0 for the opening of a session. */
  command: number;
  data: Uint8Array;
}>;
export type ReadRequest = Readonly<{ kind: 'read'; key: number }>;
/** What clients ask of a manager. */
export type Request = WriteRequest | ReadRequest;
/** `refused`: certainly nothing happened. `unknown`: it may have, or may yet. */
export type Answer =
  | Readonly<{ kind: 'ok'; output: number }>
  | Readonly<{ kind: 'refused' }>
  | Readonly<{ kind: 'unknown' }>
  /** As unknown; and the client's session is gone. */
  | Readonly<{ kind: 'no-session' }>;

/** A message of Raft, as it is or as bytes, and a snapshot's body beside it. */
export type Packet = {
  readonly message: Message;
  readonly bytes: Uint8Array | undefined;
  readonly body: readonly Uint8Array[] | undefined;
  arrived: boolean;
};

/** The boundaries between two effects, at each of which power may fail. */
export const PLACES = [
  'before-send',
  'between-sends',
  'before-append',
  'before-sync',
  'after-sync',
  'after-answers',
  'before-apply',
  'after-apply',
  'snapshot-received',
  'snapshot-written',
  'snapshot-named',
  'snapshot-marked',
  'log-truncated',
] as const;
export type Place = (typeof PLACES)[number];

export type NodeSettings = Readonly<{
  raft: Omit<RaftOptions, 'id'>;
  tickMs: number;
  compaction: CompactionPolicy;
  /** Writes that come within this time may share a batch. */
  batchMaxMs: number;
  /** Messages travel as bytes. */
  encodes: boolean;
  sessions: SessionLimits;
}>;
/** Upper ends of uniform delays; 0 for none. */
export type NodeDelays = Readonly<{ syncMaxMs: number; applyMaxMs: number }>;

/** The code under test: the sound one, or one with a bug planted. */
export type Production = Readonly<{
  createCore: (start: RaftStart) => Raft;
  Sessions: typeof Sessions;
}>;

/** What a node shares with the others. */
export type World<Node> = Readonly<{
  clock: VirtualClock;
  network: SimNetwork<Packet>;
  checks: RaftChecks;
  events: EventLog;
  commands: Commands;
  settings: NodeSettings;
  delays: (node: Node) => NodeDelays;
  production: Production;
  /** Whether power fails at this boundary between two effects. */
  failsHere: (place: Place) => boolean;
  /** Whether a disk fails at this sync. */
  syncFails: () => boolean;
  /** A node died of a failure of power or of its disk: somebody must start it again. */
  died: (node: Node) => void;
  /** Command of every entry that was applied anywhere, by index; 0 for those without one. */
  history: Map<number, number>;
}>;
