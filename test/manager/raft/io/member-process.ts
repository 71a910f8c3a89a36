/** One manager's consensus in a process of its own, so that it can be killed. Driven by crash.test.ts. */
import { startWorkerConsensus } from '../../../../manager/raft/io/start.ts';
import { isShoalError } from '../../../../shared/errors.ts';
import type { RaftMember } from '../../../../shared/gen/shoal/v1/peer.ts';
import { silentLog } from '../../../../shared/log.ts';
import { IdentityHolder, type TlsIdentity } from '../../../../shared/pki/identity.ts';
import { WordList, word } from './harness.ts';

export type MemberInput = Readonly<{
  folder: string;
  identity: TlsIdentity;
  member: RaftMember;
  members: readonly RaftMember[];
  start: 'bootstrap' | 'join' | 'restart';
}>;
export type Ask = Readonly<{
  id: number;
  call: 'propose' | 'read' | 'add' | 'lead' | 'settled';
  word?: string;
  member?: RaftMember;
}>;
export type Answer = Readonly<{ id: number; code: string; index: number; words: string[] }>;

const input = JSON.parse(process.argv[2] ?? '{}') as MemberInput;
const words = new WordList();
const { member, members, start } = input;
const consensus = await startWorkerConsensus({
  folder: input.folder,
  listen: member.raftAddress,
  identity: new IdentityHolder(input.identity),
  start: start === 'restart' ? { kind: start } : { kind: start, member, members },
  stateMachine: words,
  log: silentLog,
  logLevel: 'error',
  fatal: (error) => {
    process.stderr.write(`${error.stack}\n`);
    process.exit(1);
  },
  timing: { tickMs: 60, electionTicks: 10, heartbeatTicks: 1 },
  compaction: { snapshotEveryEntries: 300, trailingEntries: 50 },
});

async function answer(ask: Ask): Promise<Omit<Answer, 'id' | 'code'>> {
  switch (ask.call) {
    case 'propose':
      return { index: await consensus.propose(word(ask.word ?? '')), words: [] };
    case 'read': {
      const index = await consensus.readBarrier();
      return { index, words: words.words.map((one) => one.word) };
    }
    case 'add':
      if (ask.member !== undefined) await consensus.addMember(ask.member);
      return { index: 0, words: [] };
    case 'lead':
      return { index: consensus.status().isLeader ? 1 : 0, words: [] };
    case 'settled': {
      const all = consensus.status().members;
      return { index: all.filter(({ learner }) => !learner).length, words: [] };
    }
  }
}

process.on('message', (ask: Ask) => {
  answer(ask).then(
    (result) => process.send?.({ id: ask.id, code: 'ok', ...result }),
    (error: unknown) => {
      const code = isShoalError(error) ? error.code : String(error);
      process.send?.({ id: ask.id, code, index: 0, words: [] });
    },
  );
});
process.on('disconnect', () => process.exit(0));
process.send?.({ id: 0, code: 'ok', index: 0, words: [] });
