import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readlinkSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { CgroupMounts } from '../../../../agent/runtime/cgroup.ts';
import { cgroupMounts } from '../../../../agent/runtime/io/cgroup-files.ts';
import { ContainerReader } from '../../../../agent/signals/io/container-reader.ts';
import { type Rates, TaskSeries } from '../../../../agent/signals/series.ts';

// A process that would take a whole core, in a cgroup that gives it a fifth of one.

const QUOTA_US = 20_000;
const PERIOD_US = 100_000;
const ID = 'box';
const v1 = cgroupMounts();
/** Also where the controllers are v1's: CPU time is told in each cgroup of the v2 tree all the same. */
const UNIFIED = '/sys/fs/cgroup/unified';
const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };

async function withBusyBox(
  t: ExecutionContext,
  trees: readonly string[],
  work: (parent: string, pid: number) => Promise<void>,
): Promise<void> {
  const parent = `shoal-test-${process.pid}-${t.title.length}`;
  const folders = trees.flatMap((tree) => [join(tree, parent), join(tree, parent, ID)]);
  let child: ChildProcess | undefined;
  for (const folder of folders) mkdirSync(folder);
  try {
    child = spawn('/usr/bin/unshare', ['--net', 'sh', '-c', 'read go; while :; do :; done'], {
      env,
      stdio: ['pipe', 'ignore', 'inherit'],
    });
    for (const tree of trees) {
      const folder = join(tree, parent, ID);
      writeFileSync(join(folder, 'cgroup.procs'), String(child.pid));
      if (!existsSync(join(folder, 'cpu.cfs_quota_us'))) continue;
      writeFileSync(join(folder, 'cpu.cfs_period_us'), String(PERIOD_US));
      writeFileSync(join(folder, 'cpu.cfs_quota_us'), String(QUOTA_US));
    }
    const { pid = 0 } = child;
    const network = (process: string) => readlinkSync(`/proc/${process}/ns/net`);
    while (network(String(pid)) === network('self')) await sleep(20);
    child.stdin?.write('go\n');
    await work(`/${parent}`, pid);
  } finally {
    const end = new Promise((resolve) => child?.once('exit', resolve));
    child?.kill('SIGKILL');
    await end;
    for (const folder of folders.reverse()) await removed(folder);
  }
}

async function removed(folder: string): Promise<void> {
  for (let tries = 0; existsSync(folder); tries++) {
    try {
      rmdirSync(folder);
    } catch (error) {
      if (tries > 100) throw error;
      await sleep(20); // a process that was killed leaves its cgroup some time later
    }
  }
}

async function rates(mounts: CgroupMounts, parent: string, pid: number): Promise<Rates> {
  const reader = new ContainerReader(mounts, parent);
  const series = new TaskSeries();
  reader.open(ID, pid);
  const next = () => series.next({ atMs: performance.now(), resources: reader.read(ID) });
  try {
    next();
    await sleep(2_000);
    const found = next();
    if (found === undefined) throw new Error('nothing was read');
    return found;
  } finally {
    reader.keepOnly(new Set());
  }
}

test.serial(
  'v1: a fifth of a core is measured as one, beside memory, pids and network',
  async (t) => {
    if (v1.version !== 1) {
      t.pass('this host has no cgroups v1');
      return;
    }
    const { cpu = '', cpuacct = '', memory = '', pids = '' } = v1.roots;
    await withBusyBox(t, [...new Set([cpu, cpuacct, memory, pids])], async (parent, pid) => {
      const found = await rates(v1, parent, pid);
      t.log(found);
      t.true((found.cpuCores ?? 0) > 0.02 && (found.cpuCores ?? 1) < 0.35, `${found.cpuCores}`);
      t.is(found.pids, 1);
      t.is(found.networkBytes, 0, 'a network of its own, where nobody speaks');
      t.true((found.memoryBytes ?? -1) >= 0 && (found.memoryBytes ?? 1e9) < 64 << 20);
      t.is(
        (await rates(v1, parent, process.pid)).networkBytes,
        undefined,
        'the host’s own network',
      );
    });
  },
);

test.serial('v2: CPU is measured; controllers that the host lacks are absent', async (t) => {
  if (!existsSync(UNIFIED) || v1.version !== 1) {
    t.pass('this host has no such tree');
    return;
  }
  const { cpu = '' } = v1.roots;
  await withBusyBox(t, [cpu, UNIFIED], async (parent, pid) => {
    const found = await rates({ version: 2, root: UNIFIED }, parent, pid);
    t.true((found.cpuCores ?? 0) > 0.02 && (found.cpuCores ?? 1) < 0.35, `${found.cpuCores}`);
    t.is(found.memoryBytes, undefined);
    t.is(found.pids, undefined);
  });
});

test.serial('a container that has gone is forgotten', async (t) => {
  const root = v1.version === 1 ? (v1.roots.pids ?? '') : v1.root;
  const parent = `shoal-test-${process.pid}-gone`;
  mkdirSync(join(root, parent));
  mkdirSync(join(root, parent, ID));
  const reader = new ContainerReader(v1, `/${parent}`);
  try {
    reader.open(ID, process.pid);
    t.true(reader.knows(ID));
    t.is(reader.read(ID)?.pids, 0);
  } finally {
    await removed(join(root, parent, ID));
    await removed(join(root, parent));
  }
  t.is(reader.read(ID), undefined);
  t.false(reader.knows(ID));
  reader.open(ID, process.pid);
  t.false(reader.knows(ID), 'where no file is, nothing is known');
});
