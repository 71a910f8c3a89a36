/**
 * Goal: a killed process loses nothing that was acknowledged. Method: three processes, writers on
 * whoever leads, and SIGKILL to the leader or to a follower again and again; in the end each member
 * has every acknowledged word, once, in one order.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { RaftMember } from '../../../../shared/gen/shoal/v1/peer.ts';
import { newId } from '../../../../shared/ids.ts';
import { systemRandom } from '../../../../shared/io/system.ts';
import type { TlsIdentity } from '../../../../shared/pki/identity.ts';
import { createRootCa } from '../../../../shared/pki/io/x509.ts';
import { issueIdentity } from '../../../support/identity.ts';
import { freePort } from '../../../support/ports.ts';
import { until } from './harness.ts';
import type { Answer, Ask, MemberInput } from './member-process.ts';

const KILLS = 6;
const WRITERS = 8;
const script = new URL('./member-process.ts', import.meta.url);

class Process {
  readonly member: RaftMember;
  readonly #identity: TlsIdentity;
  readonly #folder: string;
  #child: ChildProcess | undefined;
  #nextId = 1;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  constructor(member: RaftMember, identity: TlsIdentity, folder: string) {
    this.member = member;
    this.#identity = identity;
    this.#folder = folder;
  }
  start(how: MemberInput['start'], members: readonly RaftMember[] = []): Promise<void> {
    const input: MemberInput = {
      folder: this.#folder,
      identity: this.#identity,
      member: this.member,
      members,
      start: how,
    };
    const child = fork(script, [JSON.stringify(input)], { stdio: ['ignore', 2, 2, 'ipc'] });
    this.#child = child;
    // What is sent to one that has just been killed: its exit answers all that wait.
    child.on('error', () => undefined);
    return new Promise((resolve, reject) => {
      child.on('message', (answer: Answer) => {
        if (answer.id === 0) resolve();
        this.#waiting.get(answer.id)?.(answer);
        this.#waiting.delete(answer.id);
      });
      child.on('exit', () => {
        reject(new Error('the member did not start'));
        for (const [id, settle] of this.#waiting) settle({ id, code: 'gone', index: 0, words: [] });
        this.#waiting.clear();
      });
    });
  }
  ask(call: Ask['call'], extra: Partial<Ask> = {}): Promise<Answer> {
    const id = this.#nextId++;
    return new Promise((resolve) => {
      if (this.#child?.connected !== true) {
        resolve({ id, code: 'gone', index: 0, words: [] });
        return;
      }
      this.#waiting.set(id, resolve);
      this.#child.send({ id, call, ...extra });
    });
  }
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
  }
}

test('acknowledged writes survive SIGKILL of leaders and followers under load', async (t) => {
  const ca = createRootCa();
  const folder = await mkdtemp(join(tmpdir(), 'shoal-crash-'));
  const processes: Process[] = [];
  t.teardown(async () => {
    await Promise.all(processes.map((one) => one.kill()));
    await rm(folder, { recursive: true, force: true });
  });
  const leader = async () => {
    let found: Process | undefined;
    await until('there is a leader', async () => {
      for (const one of processes) if ((await one.ask('lead')).index === 1) found = one;
      return found !== undefined;
    });
    return found as Process;
  };
  for (let i = 0; i < 3; i++) {
    const member: RaftMember = {
      raftId: newId(systemRandom),
      nodeId: newId(systemRandom),
      address: '',
      raftAddress: `127.0.0.1:${await freePort()}`,
    };
    const one = new Process(member, issueIdentity(ca, member.nodeId), join(folder, `${i}`));
    const before = processes.map((other) => other.member);
    if (i > 0) t.is((await (await leader()).ask('add', { member })).code, 'ok');
    await one.start(i === 0 ? 'bootstrap' : 'join', before);
    processes.push(one);
    await until('it votes', async () => (await (await leader()).ask('settled')).index === i + 1);
  }

  const acknowledged: { word: string; index: number }[] = [];
  let stopping = false;
  let target = await leader();
  const writers = Array.from({ length: WRITERS }, async (_, writer) => {
    for (let n = 0; !stopping; n++) {
      const text = `${writer}.${n}`;
      const { code, index } = await target.ask('propose', { word: text });
      if (code === 'ok') acknowledged.push({ word: text, index });
      else await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
  for (let round = 0; round < KILLS; round++) {
    const enough = acknowledged.length + 150;
    await until('writes go on', async () => {
      if (acknowledged.length < enough) target = await leader();
      return acknowledged.length >= enough;
    });
    const victim = round % 2 === 0 ? target : processes.find((one) => one !== target);
    await victim?.kill();
    await victim?.start('restart');
  }
  stopping = true;
  await Promise.all(writers);

  const logs = await Promise.all(
    processes.map(async (one) => {
      let words: string[] = [];
      await until('it answers reads', async () => {
        const answer = await one.ask('read');
        words = answer.words;
        return answer.code === 'ok';
      });
      return words;
    }),
  );
  const [first = []] = logs;
  for (const words of logs) t.deepEqual(words, first, 'the same words in the same order');
  t.is(new Set(first).size, first.length, 'none twice');
  const present = new Set(first);
  t.deepEqual(
    acknowledged.filter(({ word }) => !present.has(word)),
    [],
    'none acknowledged is missing',
  );
  t.true(acknowledged.length >= KILLS * 150);
});
