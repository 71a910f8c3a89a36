import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

/** What is left of a task: its shim (or what is about to become it), its folder in containerd's state, or both. */
export type TaskRemains = Readonly<{ id: string; pids: readonly number[]; bundle: string }>;

/** Whose tasks they are; `state` is containerd's state folder, where it is known. */
export type TaskOwner = Readonly<{
  address: string;
  namespace: string;
  state: string | undefined;
}>;

const run = promisify(execFile);
const TIMEOUT_MS = 10_000;

/** The tasks of one namespace of one containerd, from the process table and its state folder. A few milliseconds. */
export function listRemains(owner: TaskOwner): TaskRemains[] {
  const { namespace, state } = owner;
  const found = new Map<string, { pids: number[]; bundle: string }>();
  const folder = join(state ?? '/nonexistent', 'io.containerd.runtime.v2.task', namespace);
  for (const id of namesIn(folder)) found.set(id, { pids: [], bundle: join(folder, id) });
  for (const pid of processes()) {
    const id = shimOf(pid, owner);
    if (id === undefined) continue;
    const known = found.get(id) ?? { pids: [], bundle: linkOf(`/proc/${pid}/cwd`) };
    found.set(id, known);
    known.pids.push(pid);
  }
  return [...found].map(([id, remains]) => ({ id, ...remains }));
}

/**
 * Ends a task that containerd does not know, with all that it started: containerd forgets a container that was
 * being created when it died, would neither show nor end it, and would refuse to make it again.
 */
export async function endRemains(
  { id, pids, bundle }: TaskRemains,
  runtime: Readonly<{ command: string; root: string }>,
): Promise<void> {
  // First the shim, then its children: else it would go on with the next step of the creation.
  const tree = [...pids, ...descendants(pids)];
  for (const pid of tree) kill(pid);
  for (let turn = 0; turn < 50 && tree.some((pid) => isAlive(pid)); turn += 1) await delay(20);
  const options = { timeout: TIMEOUT_MS, env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` } };
  // Each may have nothing to do.
  const { root, command } = runtime;
  await run(command, ['--root', root, 'delete', '--force', id], options).catch(() => undefined);
  if (basename(bundle) !== id) return;
  await run('umount', ['-l', join(bundle, 'rootfs')], options).catch(() => undefined);
  const work = linkOf(join(bundle, 'work'));
  await rm(bundle, { recursive: true, force: true });
  if (basename(work) === id) await rm(work, { recursive: true, force: true });
}

/** The container whose shim a process is, if it is one. */
function shimOf(pid: number, owner: TaskOwner): string | undefined {
  const args = readText(`/proc/${pid}/cmdline`).split('\0');
  if (!basename(args[0] ?? '').startsWith('containerd-shim-')) return undefined;
  const option = (name: string) => args[args.indexOf(name, 1) + 1];
  const ours = option('-namespace') === owner.namespace && option('-address') === owner.address;
  // Helpers that containerd runs to clean up are no shims.
  if (!ours || args.includes('delete')) return undefined;
  // Other hosts on this machine, each in a pid namespace of its own, use the same paths.
  return linkOf(`/proc/${pid}/ns/pid`) === linkOf('/proc/self/ns/pid') ? option('-id') : undefined;
}

function descendants(roots: readonly number[]): number[] {
  const children = new Map<number, number[]>();
  for (const pid of processes()) {
    const stat = readText(`/proc/${pid}/stat`);
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    children.set(parent, [...(children.get(parent) ?? []), pid]);
  }
  const found: number[] = [];
  for (const pids = [...roots]; pids.length > 0; ) {
    const below = children.get(pids.pop() ?? 0) ?? [];
    found.push(...below);
    pids.push(...below);
  }
  return found;
}

function processes(): number[] {
  return readdirSync('/proc').map(Number).filter(Number.isInteger);
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** A process that has ended but was not waited for yet counts as gone. */
function isAlive(pid: number): boolean {
  return /^State:\s+[^ZX]/m.test(readText(`/proc/${pid}/status`));
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
