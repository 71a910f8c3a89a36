import type { Clock } from '../../shared/clock.ts';
import { isShoalError, messageOf, NotLeaderError, ShoalError } from '../../shared/errors.ts';
import { type Node, NodeRole } from '../../shared/gen/shoal/v1/objects.ts';
import type {
  JoinRaftRequest,
  JoinRaftResponse,
  RaftMember,
} from '../../shared/gen/shoal/v1/peer.ts';
import { newId } from '../../shared/ids.ts';
import type { Log } from '../../shared/log.ts';
import type { Random } from '../../shared/random.ts';
import { unreachable } from '../../shared/unreachable.ts';
import type { Consensus, ConsensusStatus } from '../raft/consensus.ts';
import { updateAction } from '../store/tables.ts';
import type { ReadView, Writer } from '../store/types.ts';
import { type MemberStep, memberSteps } from './reconcile.ts';

export type MembersDeps = Readonly<{
  store: ReadView;
  writer: Writer;
  consensus: Pick<
    Consensus,
    'status' | 'onStatus' | 'addMember' | 'removeMember' | 'transferLeadership'
  >;
  clock: Clock;
  random: Random;
  log: Log;
}>;

/** Several writers touch node objects; a conflict with one of them is not the caller's to know. */
const WRITE_TRIES = 5;

/**
 * Which managers take part in consensus, and what the store says of it. Works on the leader; throws
 * NotLeaderError elsewhere.
 */
export class Members {
  readonly #deps: MembersDeps;
  /** When each member was heard of last, as this leader saw it; monotonic. */
  #heardMs = new Map<string, number>();

  constructor(deps: MembersDeps) {
    this.#deps = deps;
  }

  /**
   * Adds the node as a learner under a fresh identity; it is promoted once it has caught up. A node that
   * asks again (its first answer was lost, or its log) gets a new identity and loses the old one. With a
   * `raftId` it is a member that goes on, elsewhere.
   */
  async join(request: JoinRaftRequest, signal?: AbortSignal): Promise<JoinRaftResponse> {
    const { store, consensus, random, log } = this.#deps;
    const { nodeId, address, raftAddress } = request;
    const status = this.#requireLeader();
    const node = store.get('node', nodeId);
    if (node?.spec?.role !== NodeRole.MANAGER) {
      const why = `node ${nodeId} is not a manager: promote it first`;
      throw new ShoalError('failed-precondition', why);
    }
    for (const [what, value] of Object.entries({ address, raftAddress })) {
      if (value === '') throw new ShoalError('invalid-argument', `${what}: host:port expected`);
    }
    const isMove = request.raftId !== '';
    const raftId = isMove ? request.raftId : newId(random);
    if (!isMove) await this.#removeMembersOf(nodeId, signal);
    else if (!membersOf(status, nodeId).some((own) => own.raftId === raftId)) {
      throw new ShoalError('failed-precondition', `${raftId} is no member: it must join anew`);
    }
    const member: RaftMember = { raftId, nodeId, address, raftAddress };
    await consensus.addMember(member, signal);
    await this.#setStatus(nodeId, member, signal);
    log.info(isMove ? 'a manager has moved' : 'a manager has joined', { nodeId, raftId, address });
    const members = consensus.status().members.map((each) => each.member);
    const others = members.filter((other) => other.raftId !== raftId);
    return { raftId, members: [...others, member] };
  }

  /** Takes the node out of consensus; no error when it is not in it. The leader hands over first. */
  async leave(nodeId: string, signal?: AbortSignal): Promise<void> {
    const { consensus, store, log } = this.#deps;
    const status = this.#requireLeader();
    const isLeader = membersOf(status, nodeId).some(({ raftId }) => raftId === status.raftId);
    if (isLeader && status.members.some(({ member }) => member.nodeId !== nodeId)) {
      log.info('handing over leadership: this manager leaves', { nodeId });
      await consensus.transferLeadership(undefined, signal);
      throw new NotLeaderError(undefined); // the next leader takes it out
    }
    await this.#removeMembersOf(nodeId, signal);
    if (store.get('node', nodeId)?.managerStatus !== undefined) {
      await this.#setStatus(nodeId, undefined, signal);
    }
  }

  /** Brings members, roles and statuses in line (see reconcile.ts). One failure does not keep the others. */
  async sweep(signal: AbortSignal): Promise<void> {
    const { store, log } = this.#deps;
    for (const step of memberSteps(store.all('node'), this.#views())) {
      const { nodeId } = step;
      try {
        await this.#carryOut(step, signal);
        if (step.kind === 'leave') log.info('a manager was taken out', { nodeId });
        if (step.kind === 'remove') {
          log.warn('an orphaned member was taken out', {
            nodeId,
            raftId: step.raftId,
            why: step.why,
          });
        }
      } catch (error) {
        if (signal.aborted || isShoalError(error, 'unavailable')) return; // the next leader's work
        log.warn('cannot bring a manager in line', {
          nodeId,
          step: step.kind,
          error: messageOf(error),
        });
      }
    }
  }

  /** For a new term: what was heard before it says nothing. */
  forget(): void {
    this.#heardMs.clear();
  }

  #carryOut(step: MemberStep, signal: AbortSignal): Promise<void> {
    switch (step.kind) {
      case 'leave':
        return this.leave(step.nodeId, signal);
      case 'remove':
        return this.#deps.consensus.removeMember(step.raftId, signal);
      case 'status':
        return this.#setStatus(step.nodeId, step.member, signal);
      default:
        return unreachable(step);
    }
  }

  #views() {
    const nowMs = this.#deps.clock.monotonicMs();
    const heardMs = new Map<string, number>();
    const views = this.#deps.consensus.status().members.map(({ member, learner, active }) => {
      const { raftId } = member;
      const lastMs = active ? nowMs : (this.#heardMs.get(raftId) ?? nowMs);
      heardMs.set(raftId, lastMs);
      return { member, learner, silentMs: nowMs - lastMs };
    });
    this.#heardMs = heardMs;
    return views;
  }

  #requireLeader(): ConsensusStatus {
    const status = this.#deps.consensus.status();
    if (status.isLeader) return status;
    const leader = status.members.find(({ member }) => member.raftId === status.leaderRaftId);
    throw new NotLeaderError(leader?.member.nodeId);
  }

  async #removeMembersOf(nodeId: string, signal: AbortSignal | undefined): Promise<void> {
    const { consensus } = this.#deps;
    for (const { raftId } of membersOf(consensus.status(), nodeId)) {
      await consensus.removeMember(raftId, signal);
    }
  }

  async #setStatus(
    nodeId: string,
    member: RaftMember | undefined,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { store, writer } = this.#deps;
    for (let tries = 1; ; tries++) {
      const node = store.get('node', nodeId);
      if (node === undefined) return;
      const managerStatus = member && {
        raftId: member.raftId,
        address: member.address,
        raftAddress: member.raftAddress,
        leader: false,
        reachable: false,
      };
      try {
        const next: Node = { ...node, managerStatus };
        await writer.write([updateAction('node', next)], signal);
        return;
      } catch (error) {
        if (!isShoalError(error, 'out-of-sequence') || tries >= WRITE_TRIES) throw error;
      }
    }
  }
}

function membersOf(status: ConsensusStatus, nodeId: string): RaftMember[] {
  return status.members.map(({ member }) => member).filter((member) => member.nodeId === nodeId);
}
