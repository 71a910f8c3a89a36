/**
 * Goal: no order of messages, crashes and changes of members, joint ones above all, makes two leaders
 * of a term, two truths at an index, or a group that does not come together again. Method: a few
 * members and a pool of messages that are delivered in any order, twice or never; what is checked
 * after each step is held against everything seen before. Each seed is one walk.
 */
import test from 'ava';
import { bootstrapState } from '../../../../manager/raft/bootstrap.ts';
import { isJoint, members } from '../../../../manager/raft/conf-change.ts';
import type {
  ConfChange,
  ConfTransition,
  Message,
  RaftId,
  RaftOptions,
} from '../../../../manager/raft/types.ts';
import { SeededRandom } from '../../../sim/random.ts';
import { change, Member, type MemberStart, nameOf, raftId } from '../group.ts';

const STEPS = 400;
/** Ids are never used again, so a walk has as many members in all as there are letters. */
const NAMES = [...'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'];
const MOST_MEMBERS = 5;
const NEWCOMER = '';

class Walk {
  readonly random: SeededRandom;
  readonly members = new Map<RaftId, Member>();
  readonly leaders = new Map<number, RaftId>();
  /** What was applied anywhere at an index, and the configuration after it. */
  readonly truth = new Map<number, { term: number; text: string; conf: string }>();
  readonly #options: Partial<RaftOptions>;
  #checked = new Map<RaftId, number>();
  #pool: Message[] = [];
  /** Nothing goes to them or comes from them. */
  readonly #cutOff = new Set<RaftId>();
  #writes = 0;
  jointSeen = 0;
  committedForwards = 0;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
    const { random } = this;
    this.#options = {
      heartbeatTicks: 3,
      preVote: random.chance(0.5),
      checkQuorum: random.chance(0.5),
      maxMessageBytes: random.pick([1, 60, 1 << 20]),
      maxInflightMessages: random.pick([1, 3, 256]),
    };
    const founders = NAMES.slice(0, random.pick([1, 3, 3]));
    const start = bootstrapState(founders.map(raftId));
    for (const name of founders) this.#add(name, start);
  }

  #add(name: string, start: MemberStart = {}): void {
    const member = new Member(name, { options: this.#options, ...start });
    this.members.set(member.id, member);
  }

  step(): void {
    const { random } = this;
    const member = random.pick([...this.members.values()]);
    const roll = random.next();
    if (roll < 0.5) for (let i = random.between(1, 6); i > 0; i--) this.#deliver();
    else if (roll < 0.68) for (let i = random.between(1, 12); i > 0; i--) member.core.tick();
    else if (roll < 0.74) member.core.campaign();
    else if (roll < 0.82) this.#write(member);
    else if (roll < 0.9) this.#change(member);
    else if (roll < 0.92) member.core.transferLeadership(random.pick([...this.members.keys()]));
    else if (roll < 0.93) member.core.forgetLeader();
    else if (roll < 0.95) this.members.set(member.id, member.restarted());
    else if (roll < 0.96) this.#compact(member);
    else if (roll < 0.98) member.applies = !member.applies;
    else this.#cut(member);
    this.settle();
  }

  /** Every member does what is due, and what came of it is checked. */
  settle(): void {
    for (const member of this.members.values()) {
      if (member.applies) member.apply();
      this.#pool.push(...member.run());
      this.#check(member);
    }
  }

  #cut(member: Member): void {
    if (this.#cutOff.size > 1) this.#cutOff.clear();
    else this.#cutOff.add(member.id);
  }

  #write(member: Member): void {
    const text = `w${++this.#writes}`;
    if (member.propose(text).kind === 'dropped') member.core.forwardProposal([Buffer.from(text)]);
  }

  #compact(member: Member): void {
    const { applied } = member.status;
    if (applied > member.log.firstIndex() && member.applies) member.compact(applied);
  }

  #change(member: Member): void {
    if (member.status.role === 'leader') member.core.proposeConfChange(this.#anyChange(member));
  }

  #anyChange(leader: Member): ConfTransition {
    const { random } = this;
    if (isJoint(leader.status.confState) && random.chance(0.6)) return { kind: 'leave-joint' };
    const all = members(leader.status.confState).map(nameOf);
    const newcomers = Array.from({ length: MOST_MEMBERS - all.length }, () => NEWCOMER);
    const one = (name: string): ConfChange => {
      const kind = random.pick(['add-voter', 'add-voter', 'add-learner', 'remove'] as const);
      return change(kind, name === NEWCOMER ? this.#newcomer() : name);
    };
    const choice = random.shuffled([...all, ...newcomers]);
    if (random.chance(0.4)) return one(choice[0] ?? NEWCOMER);
    const changes = choice.slice(0, random.between(1, 3)).map(one);
    return { kind: 'enter-joint', changes, autoLeave: random.chance(0.6) };
  }

  #newcomer(): string {
    const name = NAMES[this.members.size];
    if (name === undefined) return 'a'; // out of letters: no change of anything, mostly
    this.#add(name);
    return name;
  }

  #deliver(): void {
    const { random } = this;
    if (this.#pool.length === 0) return;
    const at = Math.floor(random.next() * this.#pool.length);
    const message = this.#pool[at];
    if (message === undefined) return;
    if (!random.chance(0.05)) this.#pool.splice(at, 1); // else it comes once more
    if (this.#pool.length > 200)
      for (const lost of this.#pool.splice(0, 50)) this.#report(lost, false);
    const cut = this.#cutOff.has(message.to) || this.#cutOff.has(message.from);
    const arrives = !cut && !random.chance(0.05);
    if (arrives) this.members.get(message.to)?.core.step(message);
    this.#report(message, arrives && random.chance(0.5));
  }

  /** Every snapshot is reported on, if not always truly. */
  #report({ type, from, to }: Message, ok: boolean): void {
    if (type === 'snapshot') this.members.get(from)?.core.reportSnapshot(to, ok);
  }

  #check(member: Member): void {
    const { status } = member;
    if (status.role === 'leader') {
      const known = this.leaders.get(status.term);
      if (known !== undefined && known !== member.id) {
        throw new Error(`${nameOf(known)} and ${nameOf(member.id)} lead term ${status.term}`);
      }
      this.leaders.set(status.term, member.id);
      if (known === undefined) this.#checkComplete(member);
    }
    if (isJoint(status.confState)) this.jointSeen++;
    this.committedForwards += member.forwarded
      .splice(0)
      .filter((f) => f.outcome === 'committed').length;
    const from = this.#checked.get(member.id) ?? 0;
    for (const entry of member.applied.slice(from)) {
      const text = new TextDecoder().decode(entry.data);
      const known = this.truth.get(entry.index);
      if (known === undefined) {
        this.truth.set(entry.index, { term: entry.term, text, conf: '' });
      } else if (known.term !== entry.term || known.text !== text) {
        throw new Error(`two truths at ${entry.index}: ${known.text} and ${text}`);
      }
    }
    this.#checked.set(member.id, member.applied.length);
    const here = this.truth.get(status.applied);
    if (here !== undefined && member.applies) {
      here.conf ||= member.conf();
      if (here.conf !== member.conf()) {
        throw new Error(`at ${status.applied} ${here.conf} and ${member.conf()}`);
      }
    }
  }

  /** A new leader has everything that was ever applied anywhere (5.4). */
  #checkComplete(leader: Member): void {
    const { firstIndex, term } = leader.status;
    for (const [index, known] of this.truth) {
      if (index < firstIndex || known.term >= term) continue;
      const [found] = leader.log.entries(index, index + 1, 1);
      if (found?.term !== known.term) {
        throw new Error(`the leader of term ${term} lacks entry ${index} of term ${known.term}`);
      }
    }
  }

  /** No more faults: somebody leads, a write gets through, and all members end alike. */
  converge(): void {
    for (const member of this.members.values()) member.applies = true;
    const want = `end${++this.#writes}`;
    for (let round = 0; round < 400; round++) {
      for (const member of this.members.values()) member.core.tick();
      for (let turn = 0; turn < 60; turn++) {
        this.settle();
        const batch = this.#pool;
        this.#pool = [];
        if (batch.length === 0) break;
        for (const message of batch) {
          this.members.get(message.to)?.core.step(message);
          this.#report(message, true);
        }
      }
      const leaders = [...this.members.values()].filter(({ status }) => status.role === 'leader');
      const [leader] = leaders;
      if (leader === undefined || leaders.length > 1) continue;
      const { confState, lastIndex } = leader.status;
      if (isJoint(confState)) {
        leader.core.proposeConfChange({ kind: 'leave-joint' });
        continue;
      }
      if (!leader.appliedTexts().includes(want)) {
        if (round % 20 === 0) leader.propose(want);
        continue;
      }
      if (members(confState).every((id) => this.members.get(id)?.status.applied === lastIndex))
        return;
    }
    const states = [...this.members.values()].map(
      ({ id, status, ...member }) =>
        `${nameOf(id)} ${status.role} t${status.term} c${status.commit} l${status.lastIndex} ${JSON.stringify(member.applies)}`,
    );
    throw new Error(`they do not come together: ${states.join('; ')}`);
  }
}

let joint = 0;
let forwards = 0;
for (let block = 0; block < 10; block++) {
  test.serial(
    `any walk keeps one leader a term and one truth an index, seeds from ${block * 30 + 1}`,
    (t) => {
      for (let seed = block * 30 + 1; seed <= block * 30 + 30; seed++) {
        const walk = new Walk(seed);
        try {
          for (let i = 0; i < STEPS; i++) walk.step();
          walk.converge();
        } catch (error) {
          t.fail(`seed ${seed}: ${error instanceof Error ? error.stack : error}`);
          return;
        }
        joint += walk.jointSeen;
        forwards += walk.committedForwards;
      }
      t.pass();
    },
  );
}

test.serial('the walks went through joint configurations and forwarded proposals', (t) => {
  t.true(joint > 1_000, `${joint}`);
  t.true(forwards > 100, `${forwards}`);
});
