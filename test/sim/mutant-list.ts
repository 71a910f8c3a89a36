import type { ProfileName } from './raft-profile.ts';

/** A bug put into the production text as it is loaded; the files themselves stay as they are. */
export type Mutant = Readonly<{
  /** What a manager with it does. */
  name: string;
  /** Where the simulation looks for it: half of the profile's runs or one in a hundred may show it. */
  profile?: ProfileName;
  edits: readonly Edit[];
}>;
/** `find` is there exactly once in a file of manager/raft/. */
export type Edit = Readonly<{ file: string; find: string; replace: string }>;

/** Bugs that have been made in real Raft implementations, or that skip one rule of the paper. */
export const MUTANTS: readonly Mutant[] = [
  {
    name: 'acknowledges entries and votes before they are on disk',
    profile: 'mixed',
    edits: [{ file: 'output.ts', find: 'return false;', replace: 'return true;' }],
  },
  {
    name: 'counts its own copy before it is on disk',
    profile: 'mixed',
    edits: [
      {
        file: 'leadership.ts',
        find: 'if (this.#own().update(this.#log.stableIndex())) this.#commitByCounting();',
        replace: 'if (this.#own().update(this.#log.lastIndex())) this.#commitByCounting();',
      },
    ],
  },
  {
    name: 'does not write down whom it voted for',
    profile: 'short-leaders',
    edits: [{ file: 'roles.ts', find: 'this.#vote = from;', replace: '' }],
  },
  {
    name: 'forgets its vote in a crash',
    profile: 'short-leaders',
    edits: [{ file: 'roles.ts', find: 'this.#vote = vote;', replace: 'this.#vote = undefined;' }],
  },
  {
    name: 'votes twice in a term',
    profile: 'short-leaders',
    edits: [
      {
        file: 'vote.ts',
        find: '(voter.vote === undefined && voter.leader === undefined)',
        replace: 'voter.leader === undefined',
      },
    ],
  },
  {
    name: 'votes for any log, however old',
    profile: 'mixed',
    edits: [{ file: 'vote.ts', find: 'return free && voter.upToDate', replace: 'return free' }],
  },
  {
    name: 'votes for logs that are shorter',
    profile: 'mixed',
    edits: [
      {
        file: 'log.ts',
        find: 'return lastTerm > ownTerm || (lastTerm === ownTerm && lastIndex >= this.lastIndex());',
        replace: 'return lastTerm > ownTerm || lastTerm === ownTerm;',
      },
    ],
  },
  {
    name: 'counts learners',
    profile: 'members',
    edits: [
      {
        file: 'quorum.ts',
        find: 'const incoming = majorityReached(conf.voters, reachedBy);',
        replace:
          'const incoming = majorityReached([...conf.voters, ...conf.learners].sort((a, b) => reachedBy(b) - reachedBy(a)).slice(0, conf.voters.length), reachedBy);',
      },
    ],
  },
  {
    name: 'commits entries of older terms by counting',
    profile: 'short-leaders',
    edits: [
      {
        file: 'leadership.ts',
        find: 'if (index <= this.#log.commit || !this.#log.matches(index, this.#term)) return;',
        replace: 'if (index <= this.#log.commit) return;',
      },
    ],
  },
  {
    name: 'writes no entry of its own as a new leader, and trusts the commit index it came with',
    profile: 'mixed',
    edits: [
      { file: 'leadership.ts', find: "this.#append([NO_DATA], 'normal');", replace: '' },
      {
        file: 'leadership.ts',
        find: 'return this.#log.matches(this.#log.commit, this.#term);',
        replace: 'return true;',
      },
    ],
  },
  {
    name: 'cuts off what follows an old append',
    profile: 'mixed',
    edits: [
      {
        file: 'log.ts',
        find: 'if (this.matches(entry.index, entry.term)) continue;',
        replace: 'if (entry.index <= this.#commit) continue;',
      },
    ],
  },
  {
    name: 'replaces what is committed',
    profile: 'mixed',
    edits: [
      { file: 'log.ts', find: 'if (this.matches(entry.index, entry.term)) continue;', replace: '' },
      {
        file: 'log.ts',
        find: 'if (entry.index <= this.#commit) {',
        replace: 'if (entry.index <= 0) {',
      },
      {
        file: 'follower.ts',
        find: 'if (prevIndex < log.commit) return accepted(log.commit);',
        replace: '',
      },
    ],
  },
  {
    name: 'appends without looking at the entry before',
    profile: 'mixed',
    edits: [
      {
        file: 'log.ts',
        find: 'if (!this.matches(prevIndex, prevTerm)) return undefined;',
        replace: 'if (prevIndex > this.lastIndex()) return undefined;',
      },
    ],
  },
  {
    name: 'commits what a heartbeat says, whatever the log holds there',
    profile: 'mixed',
    edits: [
      {
        file: 'leadership.ts',
        find: 'commit: Math.min(progress.match, this.#log.commit),',
        replace: 'commit: this.#log.commit,',
      },
    ],
  },
  {
    name: 'does not step back after a refused append',
    profile: 'mixed',
    edits: [
      {
        file: 'progress.ts',
        find: 'this.next = Math.max(Math.min(rejected, hint + 1), this.match + 1);',
        replace: 'this.next = rejected + 1;',
      },
    ],
  },
  {
    name: 'applies what is not committed',
    profile: 'mixed',
    edits: [
      {
        file: 'log.ts',
        find: 'return Math.min(this.#commit, this.stableIndex());',
        replace: 'return this.stableIndex();',
      },
    ],
  },
  {
    name: 'serves reads without asking whether it still leads',
    profile: 'mixed',
    edits: [
      {
        file: 'leadership.ts',
        find: 'if (this.#lease.held()) {',
        replace: 'if (this.#log.commit > 0) {',
      },
    ],
  },
  {
    name: 'confirms reads with heartbeats sent before they came',
    profile: 'mixed',
    edits: [
      {
        file: 'read-index.ts',
        find: 'startRound(commit: number): void {\n    this.#seq++;',
        replace: 'startRound(commit: number): void {',
      },
    ],
  },
  {
    name: 'answers reads before it has committed in its term',
    profile: 'mixed',
    edits: [
      {
        file: 'leadership.ts',
        find: 'return this.#reads.hasWaiting() && this.#committedInTerm();',
        replace: 'return this.#reads.hasWaiting();',
      },
    ],
  },
  {
    name: 'uses the id of a forwarded read again',
    profile: 'mixed',
    edits: [
      {
        file: 'read-index.ts',
        find: 'const requestId = this.#nextId++;',
        replace: 'const requestId = this.#nextId;',
      },
    ],
  },
  {
    name: 'holds its lease longer than others keep it',
    profile: 'leases',
    edits: [
      {
        file: 'lease.ts',
        find: 'options.electionTicks - MARGIN_TICKS',
        replace: '2 * options.electionTicks',
      },
    ],
  },
  {
    name: 'keeps its lease while it hands over',
    profile: 'leases',
    edits: [{ file: 'lease.ts', find: 'this.#givenUp = true;', replace: '' }],
  },
  {
    name: 'stands for election with a change of members unapplied',
    profile: 'members',
    edits: [
      {
        file: 'roles.ts',
        find: 'this.#membership.isCurrent(this.#log)\n    );',
        replace: 'true);',
      },
    ],
  },
  {
    name: 'starts a change of members while another is pending',
    profile: 'members',
    edits: [
      {
        file: 'leadership.ts',
        find: 'if (this.#pendingConfIndex > this.#log.applied) {',
        replace: 'if (this.#pendingConfIndex < 0) {',
      },
    ],
  },
  {
    name: 'commits by one majority of a joint configuration',
    profile: 'members',
    edits: [
      {
        file: 'quorum.ts',
        find: 'return Math.min(incoming, majorityReached(conf.votersOutgoing, reachedBy));',
        replace: 'return incoming;',
      },
    ],
  },
  {
    name: 'is elected by one majority of a joint configuration',
    profile: 'members',
    edits: [
      {
        file: 'quorum.ts',
        find: "return incoming === 'won' && outgoing === 'won' ? 'won' : 'pending';",
        replace: "return incoming === 'won' || outgoing === 'won' ? 'won' : 'pending';",
      },
    ],
  },
  {
    name: 'loses the members that a snapshot names',
    profile: 'members',
    edits: [{ file: 'membership.ts', find: 'this.#conf = snapshot.confState;', replace: '' }],
  },
  {
    name: 'applies a repeated proposal twice',
    profile: 'mixed',
    edits: [
      {
        file: 'sessions.ts',
        find: "if (before !== undefined) return { kind: 'repeat', index: before };",
        replace: '',
      },
    ],
  },
  {
    name: 'forgets in a snapshot what sessions have applied',
    profile: 'snapshots',
    edits: [
      {
        file: 'sessions.ts',
        find: 'session.applied.set(reader.varint(), reader.varint());',
        replace: 'reader.varint() + reader.varint();',
      },
    ],
  },
  {
    name: 'calls a forwarded proposal refused when its leader is gone',
    profile: 'mixed',
    edits: [
      {
        file: 'forwarded-proposals.ts',
        find: "if (place !== undefined) continue;\n      this.#pending.delete(requestId);\n      output.forwarded({ requestId, outcome: 'unknown', reason: 'leader-changed' });",
        replace:
          "if (place !== undefined) continue;\n      this.#pending.delete(requestId);\n      output.forwarded({ requestId, outcome: 'refused', reason: 'overwritten' });",
      },
    ],
  },
  {
    name: 'takes a forwarded proposal for committed when another is in its place',
    profile: 'short-leaders',
    edits: [
      {
        file: 'forwarded-proposals.ts',
        find: 'if (log.matches(last, term)) {',
        replace: 'if (last <= index) {',
      },
    ],
  },
  {
    name: 'never recovers from a lost window of appends',
    profile: 'mixed',
    edits: [
      {
        file: 'leadership.ts',
        find: 'if (progress.match < this.#log.lastIndex() || progress.state ===',
        replace: 'if (progress.state ===',
      },
    ],
  },
  {
    name: 'stays paused after a failed snapshot',
    profile: 'snapshots',
    edits: [
      {
        file: 'leadership.ts',
        find: 'if (!ok) progress.pendingSnapshot = 0;',
        replace: 'if (!ok) return;',
      },
    ],
  },
];
