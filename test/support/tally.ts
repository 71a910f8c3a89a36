import { appendFileSync } from 'node:fs';
import { relative } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import type { Event, ObservedRun } from 'ava/internal';

/**
 * One line per test for `run.sh` to count: `ok FILE: TITLE` or `not ok FILE: TITLE: WHY`, and `end` last. A
 * reporter of our own, because ava's for TAP (8.0.1) dies of a test that hangs: it sets the stack of an error's
 * `originalError`, which the error it makes for a time-out or a process.exit() does not have, so that the names
 * of the tests are lost.
 */
export async function observeRun({ events }: ObservedRun): Promise<void> {
  const path = process.env.SHOAL_TEST_TALLY;
  if (path === undefined) return; // a run by hand: ava's own reporter tells enough
  for await (const event of events) {
    for (const line of tallyOf(event)) appendFileSync(path, `${line}\n`);
  }
}

/** What ava tells and its types leave out. */
type Told =
  | Event
  | Readonly<{ type: 'process-exit'; testFile: string; pendingTests: Pending }>
  | Readonly<{ type: 'hook-failed'; testFile: string; title: string; err: Fault }>
  | Readonly<{ type: 'internal-error'; testFile?: string; err: Fault }>
  | Readonly<{ type: 'missing-ava-import'; testFile: string }>
  | Readonly<{ type: 'shared-worker-error'; err: Fault }>
  | Readonly<{ type: 'uncaught-exception' | 'unhandled-rejection'; testFile: string; err: Fault }>
  | Readonly<{ type: 'interrupt'; pendingTests: Pending }>;
type Pending = ReadonlyMap<string, ReadonlySet<string>>;
/** An assertion that failed has no message of its own: it tells what it was given in its details. */
type Fault = Readonly<{
  message?: string;
  formattedDetails?: readonly Readonly<{ label: string; formatted: string }>[];
  formattedError?: string;
  source?: Readonly<{ line: number }> | null;
}>;

/** Enough for two values that differ; ava's own words have all of it. */
const MAX_WHY_CHARS = 600;

/** The lines of one event; most have none. Skipped and todo tests are neither passed nor failed. */
export function tallyOf(event: Told): string[] {
  switch (event.type) {
    case 'test-passed':
      return [line('ok', event.testFile, event.title)];
    case 'test-failed':
    case 'hook-failed':
      return [line('not ok', event.testFile, event.title, whyOf(event.err as Fault))];
    case 'timeout':
      return pending(event.pendingTests, `did not end: no test did in ${event.period} ms`);
    case 'process-exit':
      return pending(event.pendingTests, 'called process.exit()');
    case 'interrupt':
      return pending(event.pendingTests, 'was interrupted');
    case 'uncaught-exception':
    case 'unhandled-rejection':
    case 'internal-error':
      return [line('not ok', event.testFile ?? '', event.type, whyOf(event.err))];
    case 'shared-worker-error':
      return [line('not ok', '', event.type, whyOf(event.err))];
    case 'missing-ava-import':
      return [line('not ok', event.testFile, 'no tests', 'the file does not import ava')];
    case 'worker-failed':
      return [line('not ok', fileOf(event), 'the file', exitOf(event))];
    case 'end':
      return ['end'];
    default:
      return [];
  }
}

function pending(tests: Pending, why: string): string[] {
  return [...tests].flatMap(([file, titles]) =>
    [...titles].map((title) => line('not ok', file, title, why)),
  );
}

function whyOf({
  message = '',
  formattedDetails = [],
  formattedError = '',
  source,
}: Fault): string {
  const details = formattedDetails.map(({ label, formatted }) => `${label} ${formatted}`);
  const told = [message, ...details, formattedError].filter((text) => text !== '').join(' ');
  const plain = stripVTControlCharacters(told).slice(0, MAX_WHY_CHARS);
  return source ? `${plain} (line ${source.line})` : plain;
}

function fileOf(event: object): string {
  return 'testFile' in event ? String(event.testFile) : '';
}

function exitOf(event: Extract<Event, { type: 'worker-failed' }>): string {
  return event.signal ? `ended by ${event.signal}` : `exit code ${Number(event.nonZeroExitCode)}`;
}

function line(verdict: string, file: string, title: string, why?: string): string {
  const name = `${verdict} ${relative(process.cwd(), file)}: ${title}`;
  return (why === undefined ? name : `${name}: ${why}`).replaceAll(/\s*\n\s*/g, ' ');
}
