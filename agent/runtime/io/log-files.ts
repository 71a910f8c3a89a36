import { type FileHandle, open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { findTail, judgeLine, LineCutter, logFileNames, parseLogLine } from '../logs.ts';
import type { LogLine, LogQuery } from '../types.ts';

const BLOCK_BYTES = 64 << 10;
const POLL_MIN_MS = 20;
const POLL_MAX_MS = 200;

type OpenFile = Readonly<{ handle: FileHandle; inode: number }>;

/**
 * The lines of a container's rotated files in `folder`. When following it ends once `ended` says that
 * nothing more will be written and all is read. `tail` counts lines before streams and times are chosen,
 * as Docker does.
 */
export async function* readLogFiles(
  folder: string,
  query: LogQuery,
  ended: () => boolean,
  signal: AbortSignal,
): AsyncGenerator<LogLine, void, void> {
  let files = await openFiles(folder, undefined);
  try {
    const from = query.tail >= 0 ? await tailStart(files, query.tail) : { file: 0, position: 0 };
    await closeAll(files.splice(0, from.file));
    let { position } = from;
    const cutter = new LineCutter();
    let pollMs = POLL_MIN_MS;
    for (;;) {
      signal.throwIfAborted();
      // Asked before the read: what is written before the end is then surely read.
      const over = ended();
      const [file] = files;
      const block = file === undefined ? undefined : await readBlock(file.handle, position);
      if (block !== undefined && block.length > 0) {
        pollMs = POLL_MIN_MS;
        position += block.length;
        for (const bytes of cutter.push(block)) {
          const line = parseLogLine(bytes);
          if (line === undefined) continue;
          const verdict = judgeLine(line, query);
          if (verdict === 'after') return;
          if (verdict === 'show') yield line;
        }
        continue;
      }
      if (files.length > 1) {
        await closeAll(files.splice(0, 1));
        cutter.reset();
        position = 0;
        continue;
      }
      if (!query.follow) return;
      const newer = await openFiles(folder, file?.inode);
      if (newer.length > 0) {
        // The present file may have got lines between its last read and its rotation: it is read once more.
        files = [...files, ...newer];
        if (file !== undefined) continue;
      }
      if (over && newer.length === 0) return;
      if (query.untilMs > 0 && Date.now() > query.untilMs + POLL_MAX_MS) return;
      await delay(pollMs, undefined, { signal });
      pollMs = Math.min(pollMs * 2, POLL_MAX_MS);
    }
  } finally {
    await closeAll(files);
  }
}

/**
 * Opens the log files, the oldest first; with `after` only those newer than that one. Opened from the newest
 * on: a rotation meanwhile moves files toward those still to be opened, so that none is missed.
 */
async function openFiles(folder: string, after: number | undefined): Promise<OpenFile[]> {
  // The usual answer of a follower's check, and the cheapest.
  if (after !== undefined && (await inodeOf(join(folder, 'log'))) === after) return [];
  const names = logFileNames(await readdir(folder).catch(() => []));
  const files: OpenFile[] = [];
  for (const name of [...names.reverse(), `log.${names.length}`]) {
    const handle = await open(join(folder, name), 'r').catch(() => undefined);
    if (handle === undefined) continue;
    const { ino: inode } = await handle.stat();
    if (inode === after) {
      await handle.close();
      break;
    }
    if (files.some((file) => file.inode === inode)) await handle.close();
    else files.unshift({ handle, inode });
  }
  return files;
}

async function inodeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.ino;
}

async function tailStart(
  files: readonly OpenFile[],
  tail: number,
): Promise<{ file: number; position: number }> {
  let wanted = tail;
  for (let index = files.length - 1; index >= 0; index -= 1) {
    const handle = files[index]?.handle;
    if (handle === undefined) continue;
    const { size } = await handle.stat();
    if (wanted === 0) return { file: index, position: size };
    let end = size;
    while (end > 0) {
      const start = Math.max(0, end - BLOCK_BYTES);
      const block = await readBlock(handle, start, end - start);
      const tailInBlock = findTail(block, wanted, end === size);
      if ('start' in tailInBlock) return { file: index, position: start + tailInBlock.start };
      wanted -= tailInBlock.found;
      end = start;
    }
    // The file's first line has no newline before it.
    if (size > 0) wanted -= 1;
    if (wanted === 0) return { file: index, position: 0 };
  }
  return { file: 0, position: 0 };
}

async function readBlock(
  handle: FileHandle,
  position: number,
  length = BLOCK_BYTES,
): Promise<Uint8Array> {
  // Not shared between reads: lines that were handed out are views of it.
  const buffer = Buffer.allocUnsafe(length);
  const { bytesRead } = await handle.read(buffer, 0, length, position);
  return buffer.subarray(0, bytesRead);
}

async function closeAll(files: readonly OpenFile[]): Promise<void> {
  await Promise.all(files.map(({ handle }) => handle.close()));
}
