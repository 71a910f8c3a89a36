import { fileURLToPath } from 'node:url';
import { getHeapStatistics } from 'node:v8';
import { isMainThread } from 'node:worker_threads';
import { judgeTrim, TRIM_START } from '../idle-trim.ts';

const CHECK_MS = 3_000;
const ADDON = fileURLToPath(
  new URL('../../node_modules/.cache/shoal/malloc-trim.node', import.meta.url),
);

/**
 * Gives memory back while this thread idles. V8 collects when something allocates: what a start or a
 * burst of work left behind would stay for as long as the daemon idles after it (measured after a start:
 * 10 MiB in shoald, 8 in the manager). A young generation of 1 MiB from the outset does that too, but
 * takes up to twice the CPU in large scheduling rounds. The main thread also gives back what the C library holds
 * of freed buffers (13 MiB in shoald after an image's import). Needs `--expose-gc`, does nothing without it.
 * Holds no process open.
 */
export function trimWhenIdle(): void {
  const collect = globalThis.gc;
  if (collect === undefined) return;
  const trimMalloc = isMainThread ? loadMallocTrim() : undefined;
  let state = TRIM_START;
  let seen = cpuAndTimeMs();
  setInterval(() => {
    const now = cpuAndTimeMs();
    const busyRatio = (now.cpuMs - seen.cpuMs) / (now.timeMs - seen.timeMs);
    seen = now;
    const judged = judgeTrim(state, { busyRatio, heapBytes: heapBytes(), heldBytes: heldBytes() });
    state = judged.state;
    if (!judged.collect) return;
    // Of the last resort: any other keeps the freed pages in a pool, and so in the process.
    collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
    trimMalloc?.();
    state = { ...state, settledBytes: heldBytes() };
  }, CHECK_MS).unref();
}

/** CPU and not the loop's utilization: on a host with more work than cores that counts the waiting too (2 to 10 times). */
function cpuAndTimeMs(): Readonly<{ cpuMs: number; timeMs: number }> {
  const { user, system } = process.threadCpuUsage();
  return { cpuMs: (user + system) / 1_000, timeMs: performance.now() };
}

function heapBytes(): number {
  return getHeapStatistics().total_physical_size;
}

/** The memory of the whole process is the main thread's to watch. */
function heldBytes(): number {
  return isMainThread ? process.memoryUsage.rss() : heapBytes();
}

/** Undefined where the addon could not be built. */
function loadMallocTrim(): (() => void) | undefined {
  const addon: { exports: { mallocTrim?: () => void } } = { exports: {} };
  try {
    process.dlopen(addon, ADDON);
  } catch {
    return undefined;
  }
  return addon.exports.mallocTrim;
}
