/**
 * Goal: a disk that is full, the leader's and then a follower's, costs no acknowledged write and stops
 * the group no longer than an election. Method: three members, two of them on file systems of 2 MiB.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { startInlineConsensus } from '../../../../manager/raft/io/start.ts';
import { isShoalError } from '../../../../shared/errors.ts';
import { type Manager, TestCluster, until } from './harness.ts';

const SMALL = 'size=2m';
const VALUE_BYTES = 4_000;

test.serial('members with a full disk stand aside, and come back when there is room', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'shoal-full-'));
  const mounts: string[] = [];
  t.teardown(async () => {
    for (const mount of mounts) execFileSync('/usr/bin/umount', [mount]);
    await rm(root, { recursive: true });
  });
  const cluster = await TestCluster.create({
    // Nothing is compacted: what is written stays.
    compaction: { snapshotEveryEntries: 1_000_000, trailingEntries: 1_000_000 },
    starter: (options) => {
      const folder = join(root, `m${mounts.length}`);
      if (mounts.length < 2) {
        mkdirSync(folder);
        execFileSync('/usr/bin/mount', ['-t', 'tmpfs', '-o', SMALL, 'tmpfs', folder]);
        mounts.push(folder);
      }
      return startInlineConsensus({ ...options, folder });
    },
  });
  t.teardown(() => cluster.close());
  const managers = await cluster.grow(3);
  const [small0, small1, large] = managers as [Manager, Manager, Manager];
  t.true(small0.consensus.status().isLeader);

  let next = 0;
  const acknowledged: string[] = [];
  const write = async (): Promise<boolean> => {
    const leader = managers.find(({ consensus }) => consensus.status().isLeader);
    if (leader === undefined) return false;
    const text = `${next++} `;
    const data = new TextEncoder().encode(text.padEnd(VALUE_BYTES, '.'));
    try {
      await leader.consensus.propose(data, AbortSignal.timeout(1_000));
      acknowledged.push(text);
      return true;
    } catch (error) {
      if (!isShoalError(error)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
      return false;
    }
  };

  // The second small disk is full first: one follower less.
  writeFileSync(join(mounts[1] ?? '', 'ballast'), new Uint8Array(1_400_000));
  await until('the leader has no room either', async () => {
    await write();
    return next > 1_000 || !small0.consensus.status().isLeader;
  });
  t.true(acknowledged.length > 100, `${acknowledged.length}`);
  t.true(next <= 1_000);
  for (const { fatal } of managers) t.is(fatal, undefined);

  // Of three members one is left that could write: with room on one more there is a majority again.
  rmSync(join(mounts[1] ?? '', 'ballast'));
  execFileSync('/usr/bin/mount', ['-o', 'remount,size=64m', mounts[1] ?? '']);
  const before = acknowledged.length;
  await until('two members go on without the first', async () => {
    await write();
    return acknowledged.length >= before + 300;
  });
  t.false(small0.consensus.status().isLeader);
  await t.throwsAsync(small0.consensus.readBarrier(), { message: /no room left on the disk/ });
  t.true(large.consensus.status().isLeader || small1.consensus.status().isLeader);

  execFileSync('/usr/bin/mount', ['-o', 'remount,size=64m', mounts[0] ?? '']);
  await until('all have all', () => {
    const { length } = large.words.words;
    return (
      length >= acknowledged.length && managers.every(({ words }) => words.words.length === length)
    );
  });
  for (const { words, fatal } of managers) {
    t.is(fatal, undefined);
    const present = new Set(words.words.map(({ word }) => `${word.split(' ')[0]} `));
    t.deepEqual(
      acknowledged.filter((text) => !present.has(text)),
      [],
      'none acknowledged is missing',
    );
  }
});
