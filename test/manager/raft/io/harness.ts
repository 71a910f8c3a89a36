import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CompactionPolicy } from '../../../../manager/raft/compaction.ts';
import type { StateMachine } from '../../../../manager/raft/consensus.ts';
import type { ConsensusClient } from '../../../../manager/raft/consensus-client.ts';
import {
  type ConsensusOptions,
  type ConsensusStart,
  startInlineConsensus,
} from '../../../../manager/raft/io/start.ts';
import { messageOf } from '../../../../shared/errors.ts';
import type { RaftMember } from '../../../../shared/gen/shoal/v1/peer.ts';
import { newId } from '../../../../shared/ids.ts';
import { systemRandom } from '../../../../shared/io/system.ts';
import { silentLog } from '../../../../shared/log.ts';
import { IdentityHolder } from '../../../../shared/pki/identity.ts';
import { createRootCa } from '../../../../shared/pki/io/x509.ts';
import { issueIdentity } from '../../../support/identity.ts';
import { freePort } from '../../../support/ports.ts';

/** A state machine that remembers everything: the words applied, in order, with their indexes. */
export class WordList implements StateMachine {
  words: { index: number; word: string }[] = [];
  restores = 0;
  apply(index: number, data: Uint8Array): void {
    this.words.push({ index, word: new TextDecoder().decode(data) });
  }
  snapshot(): Iterable<Uint8Array> {
    const words = [...this.words];
    return (function* () {
      for (let i = 0; i < words.length; i += 100) {
        yield new TextEncoder().encode(JSON.stringify(words.slice(i, i + 100)));
      }
    })();
  }
  restore(_index: number, chunks: readonly Uint8Array[]): void {
    this.restores++;
    this.words = chunks.flatMap((chunk) => JSON.parse(new TextDecoder().decode(chunk)));
  }
  text(): string {
    return this.words.map(({ word }) => word).join(' ');
  }
}

export type Manager = {
  member: RaftMember;
  folder: string;
  identity: IdentityHolder;
  consensus: ConsensusClient;
  words: WordList;
  fatal: string | undefined;
};

type Options = {
  compaction?: CompactionPolicy;
  /** Fast by default: these tests wait for elections. */
  tickMs?: number;
  starter?: (options: ConsensusOptions) => Promise<ConsensusClient>;
};

/** Managers in this process, each with its own folder, certificate, port and state machine. */
export class TestCluster {
  readonly ca = createRootCa();
  readonly managers: Manager[] = [];
  readonly #root: string;
  readonly #options: Options;
  private constructor(root: string, options: Options) {
    this.#root = root;
    this.#options = options;
  }

  static async create(options: Options = {}): Promise<TestCluster> {
    return new TestCluster(await mkdtemp(join(tmpdir(), 'shoal-raft-')), options);
  }

  async newMember(): Promise<RaftMember> {
    const port = await freePort();
    return {
      raftId: newId(systemRandom),
      nodeId: newId(systemRandom),
      address: `127.0.0.1:${port + 1}`,
      raftAddress: `127.0.0.1:${port}`,
    };
  }

  async start(member: RaftMember, start: ConsensusStart): Promise<Manager> {
    const { compaction, starter = startInlineConsensus } = this.#options;
    // In a thread of its own each member waits for its disk alone, and the others do not.
    const { tickMs = starter === startInlineConsensus ? 20 : 60 } = this.#options;
    const old = this.managers.find((one) => one.member.raftId === member.raftId);
    const identity = old?.identity ?? new IdentityHolder(issueIdentity(this.ca, member.nodeId));
    const words = new WordList();
    const manager: Manager = {
      member,
      folder: join(this.#root, member.raftId),
      identity,
      words,
      fatal: undefined,
      consensus: await starter({
        folder: join(this.#root, member.raftId),
        listen: member.raftAddress,
        identity,
        start,
        stateMachine: words,
        log: silentLog,
        logLevel: 'error',
        fatal: (error) => {
          manager.fatal = messageOf(error);
        },
        timing: { tickMs, electionTicks: 10, heartbeatTicks: 1 },
        ...(compaction === undefined ? {} : { compaction }),
      }),
    };
    if (old === undefined) this.managers.push(manager);
    else this.managers[this.managers.indexOf(old)] = manager;
    return manager;
  }

  /** The first is bootstrapped, the others join one after the other and are promoted. */
  async grow(count: number): Promise<Manager[]> {
    const member = await this.newMember();
    const first = await this.start(member, { kind: 'bootstrap', member });
    await until('the first leads', () => first.consensus.status().isLeader);
    while (this.managers.length < count) await this.join();
    return this.managers;
  }

  async join(): Promise<Manager> {
    const leader = await this.leader();
    const member = await this.newMember();
    await leader.consensus.addMember(member);
    const members = leader.consensus.status().members.map((one) => one.member);
    const manager = await this.start(member, { kind: 'join', member, members });
    await until('the new member votes', async () => {
      const { members } = (await this.leader()).consensus.status();
      return members.some((one) => one.member.raftId === member.raftId && !one.learner);
    });
    return manager;
  }

  async leader(): Promise<Manager> {
    let found: Manager | undefined;
    await until('there is a leader', () => {
      found = this.managers.find(({ consensus }) => consensus.status().isLeader);
      return found !== undefined;
    });
    return found as Manager;
  }

  followers(): Manager[] {
    return this.managers.filter(({ consensus }) => !consensus.status().isLeader);
  }

  async restart(manager: Manager): Promise<Manager> {
    await manager.consensus.close();
    return this.start(manager.member, { kind: 'restart' });
  }

  async close(): Promise<void> {
    await Promise.all(this.managers.map(({ consensus }) => consensus.close()));
    await rm(this.#root, { recursive: true, force: true });
  }
}

export async function until(what: string, test: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 1_500; i++) {
    if (await test()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`waited in vain until ${what}`);
}

export function word(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
