import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { isShoalError } from '../../../shared/errors.ts';
import {
  commandLine,
  descendants,
  isAlive,
  isNeighbour,
  killProcess,
  linkOf,
  namesIn,
  processIds,
  processStartMs,
  socketPaths,
  textOf,
  workingFolder,
} from './processes.ts';
import { ShimClient } from './shim-client.ts';

/** Whose tasks they are; `state` is containerd's state folder, where it is known. */
export type TaskOwner = Readonly<{
  address: string;
  namespace: string;
  state: string | undefined;
  /** The OCI runtime and its state folder for this namespace. */
  command: string;
  root: string;
}>;

/** A task's folder in containerd's state; `address` is its shim's, empty before there is one. */
export type Bundle = Readonly<{ id: string; path: string; address: string }>;
export type Shim = Readonly<{ pid: number; id: string; ageMs: number; sockets: readonly string[] }>;

const run = promisify(execFile);
const TIMEOUT_MS = 10_000;
const SHIM_TIMEOUT_MS = 5_000;
const TASKS = 'io.containerd.runtime.v2.task';

/** All tasks of which something is there, whether or not containerd knows them. A few milliseconds. */
export function listBundles(owner: TaskOwner): Bundle[] {
  const folders = new Set(
    owner.state === undefined
      ? // A shim works in its first task's folder.
        shimProcesses(owner).map(({ pid }) => dirname(workingFolder(pid)))
      : [join(owner.state, TASKS, owner.namespace)],
  );
  return [...folders]
    .filter((folder) => basename(dirname(folder)) === TASKS)
    .flatMap((folder) =>
      namesIn(folder).map((id) => {
        const path = join(folder, id);
        return { id, path, address: textOf(join(path, 'address')) };
      }),
    );
}

export function listShims(owner: TaskOwner): Shim[] {
  const now = Date.now();
  return shimProcesses(owner).map(({ pid, id }) => ({
    pid,
    id,
    ageMs: now - processStartMs(pid, now),
    sockets: socketPaths(pid),
  }));
}

/**
 * Ends a task that containerd does not know, and removes what it left. containerd forgets a container that was
 * being created when it died: it would neither show nor end it, and refuse to make it again.
 */
export async function endTask(bundle: Bundle, owner: TaskOwner): Promise<void> {
  const { id, path, address } = bundle;
  // The process that is about to become its shim, or to make the container, must not go on behind us.
  if (address === '') {
    const own = shimProcesses(owner).filter((shim) => shim.id === id);
    await killTree(own.map(({ pid }) => pid));
  } else await endInShim(new ShimClient(address, owner.namespace, SHIM_TIMEOUT_MS), id);
  const options = { timeout: TIMEOUT_MS, env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` } };
  // Each may have nothing to do.
  const remove = ['--root', owner.root, 'delete', '--force', id];
  await run(owner.command, remove, options).catch(() => undefined);
  await run('umount', ['-l', join(path, 'rootfs')], options).catch(() => undefined);
  const work = linkOf(join(path, 'work'));
  await rm(path, { recursive: true, force: true });
  if (basename(work) === id) await rm(work, { recursive: true, force: true });
}

/**
 * Ends a shim that no task refers to: politely, which it refuses while it has containers, then with all it
 * started, unless it is wanted again by then.
 */
export async function endShim(
  { pid, id, sockets }: Shim,
  owner: TaskOwner,
  stillIdle: () => boolean,
): Promise<void> {
  for (const path of sockets.filter((each) => each.startsWith('/'))) {
    const client = new ShimClient(path, owner.namespace, SHIM_TIMEOUT_MS);
    await client.shutdown(id).catch(() => undefined);
  }
  for (let turn = 0; turn < 50 && isAlive(pid); turn += 1) await delay(20);
  if (isAlive(pid) && stillIdle()) await killTree([pid]);
}

async function endInShim(shim: ShimClient, id: string): Promise<void> {
  try {
    await shim.kill(id);
  } catch (error) {
    // Its creation may have failed, or its process have ended: then there is only something to delete.
    if (isShoalError(error, 'unavailable')) return;
  }
  for (let turn = 0; turn < 50; turn += 1) {
    const error = await shim.delete(id).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    if (!isShoalError(error, 'failed-precondition')) break;
    await delay(50);
  }
  await shim.shutdown(id).catch(() => undefined);
}

/** First the processes, then what they started: else they would go on with their next step. */
async function killTree(pids: readonly number[]): Promise<void> {
  const tree = [...pids, ...descendants(pids)];
  for (const pid of tree) killProcess(pid);
  for (let turn = 0; turn < 50 && tree.some((pid) => isAlive(pid)); turn += 1) await delay(20);
}

function shimProcesses(owner: TaskOwner): { pid: number; id: string }[] {
  return processIds().flatMap((pid) => {
    const args = commandLine(pid) ?? [];
    if (!basename(args[0] ?? '').startsWith('containerd-shim-')) return [];
    const option = (name: string) => args[args.indexOf(name, 1) + 1];
    const ours = option('-namespace') === owner.namespace && option('-address') === owner.address;
    const id = option('-id');
    // Helpers that containerd runs to clean up are no shims.
    if (!ours || id === undefined || args.includes('delete') || !isNeighbour(pid)) return [];
    return [{ pid, id }];
  });
}
