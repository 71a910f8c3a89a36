/**
 * `npm run sim -- --seeds N [--from S] [--jobs J] [--profile P] [--events N] [--verbose]`
 * runs N seeds from S on, on J threads, and tells of each that failed: what was broken, what happened
 * last, and how to see it again. `npm run sim -- --mutants [--seeds N] [--only WORDS]` plants one bug
 * at a time and tells which seed noticed it. With `--managers` whole managers run, not cores alone.
 */
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { runManagers } from './managers-run.ts';
import { runMutants } from './mutants.ts';
import { PROFILES, type ProfileName } from './raft-profile.ts';
import { type RunResult, runRaft } from './raft-run.ts';

/** Seeds that a thread takes at a time. */
const CHUNK = 20;

type Options = Readonly<{
  profile: ProfileName | undefined;
  events: number;
  managers: boolean;
}>;
type Chunk = Readonly<{ from: number; count: number }>;
type Outcome =
  | Readonly<{ seed: number; tookMs: number; result: RunResult }>
  | Readonly<{ seed: number; tookMs: number; failure: string }>;

function runOne(seed: number, { profile, events, managers }: Options): Outcome {
  const startedMs = performance.now();
  const tookMs = () => performance.now() - startedMs;
  try {
    const result = managers
      ? runManagers(seed)
      : runRaft(seed, { events, ...(profile && { profile }) });
    return { seed, tookMs: tookMs(), result };
  } catch (error) {
    const failure = error instanceof Error ? error.message : String(error);
    return { seed, tookMs: tookMs(), failure };
  }
}

/** A thread: takes chunks until there are no more. */
function work(options: Options): void {
  parentPort?.on('message', ({ from, count }: Chunk) => {
    const outcomes: Outcome[] = [];
    for (let seed = from; seed < from + count; seed++) outcomes.push(runOne(seed, options));
    parentPort?.postMessage(outcomes);
  });
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string' },
      from: { type: 'string', default: '1' },
      jobs: { type: 'string', default: '1' },
      profile: { type: 'string' },
      events: { type: 'string', default: '40' },
      only: { type: 'string', default: '' },
      mutants: { type: 'boolean', default: false },
      managers: { type: 'boolean', default: false },
      verbose: { type: 'boolean', default: false },
    },
  });
  if (values.mutants) {
    const most = values.seeds === undefined ? {} : { mostSeeds: whole(values.seeds, '--seeds') };
    return (await runMutants({ ...most, only: values.only, tell: console.log })) ? 0 : 1;
  }
  const profile = PROFILES.find((name) => name === values.profile);
  if (values.profile !== undefined && profile === undefined) {
    throw new RangeError(`--profile must be one of ${PROFILES.join(', ')}`);
  }
  const tally = new Tally(values.verbose);
  await runAll({
    from: whole(values.from, '--from'),
    count: whole(values.seeds ?? '100', '--seeds'),
    jobs: whole(values.jobs, '--jobs'),
    options: { profile, events: whole(values.events, '--events'), managers: values.managers },
    take: (outcome) => tally.take(outcome),
  });
  return tally.finish();
}

function whole(text: string, name: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1) {
    throw new RangeError(`${name} must be a whole number above 0, not "${text}"`);
  }
  return number;
}

type Job = Readonly<{
  from: number;
  count: number;
  jobs: number;
  options: Options;
  take: (outcome: Outcome) => void;
}>;

async function runAll({ from, count, jobs, options, take }: Job): Promise<void> {
  if (jobs === 1) {
    for (let seed = from; seed < from + count; seed++) take(runOne(seed, options));
    return;
  }
  let next = from;
  const end = from + count;
  const threads = Array.from({ length: jobs }, () => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const worker = new Worker(new URL(import.meta.url), { workerData: options });
    const more = () => {
      const size = Math.min(CHUNK, end - next);
      if (size <= 0) {
        resolve();
        void worker.terminate();
        return;
      }
      worker.postMessage({ from: next, count: size } satisfies Chunk);
      next += size;
    };
    worker.on('message', (outcomes: readonly Outcome[]) => {
      for (const outcome of outcomes) take(outcome);
      more();
    });
    worker.on('error', reject);
    more();
    return promise;
  });
  await Promise.all(threads);
}

/** Counts of a whole run of the program. */
class Tally {
  readonly #verbose: boolean;
  readonly #startedMs = performance.now();
  readonly #profiles = new Map<string, number>();
  readonly #failed: number[] = [];
  #seeds = 0;
  #acknowledged = 0;
  #reads = 0;
  #calls = 0;
  #unknown = 0;
  #terms = 0;
  #undecided = 0;
  #events = 0;
  #mostEvents = 0;
  constructor(verbose: boolean) {
    this.#verbose = verbose;
  }

  take(outcome: Outcome): void {
    this.#seeds++;
    if ('failure' in outcome) {
      this.#failed.push(outcome.seed);
      console.log(`seed ${outcome.seed} FAILED: ${outcome.failure}\n`);
      return;
    }
    const { profile, acknowledged, reads, calls, unknown, lastTerm, undecided } = outcome.result;
    this.#profiles.set(profile, (this.#profiles.get(profile) ?? 0) + 1);
    this.#acknowledged += acknowledged;
    this.#reads += reads;
    this.#calls += calls;
    this.#unknown += unknown;
    this.#terms += lastTerm;
    if (undecided) this.#undecided++;
    this.#events += outcome.result.events;
    this.#mostEvents = Math.max(this.#mostEvents, outcome.result.events);
    if (!this.#verbose) return;
    console.log(
      `seed ${outcome.seed} ${profile}: ${acknowledged} writes, ${reads} reads, ${calls} calls, ` +
        `term ${lastTerm}, ${Math.round(outcome.tookMs)} ms${undecided ? ', undecided' : ''}`,
    );
  }

  finish(): number {
    const tookMs = performance.now() - this.#startedMs;
    const profiles = [...this.#profiles].map(([name, count]) => `${name} ${count}`).join(', ');
    console.log(
      `${this.#seeds} seeds in ${Math.round(tookMs)} ms (${(this.#seeds / (tookMs / 1_000)).toFixed(1)} a second), ` +
        `${this.#failed.length} failed${this.#failed.length > 0 ? `: ${this.#failed.join(' ')}` : ''}; ` +
        `${this.#acknowledged} writes acknowledged, ${this.#reads} reads confirmed, ${this.#terms} terms; ` +
        `${this.#calls} calls in histories, ${this.#unknown} of unknown outcome, ` +
        `${this.#undecided} histories undecided; ` +
        `${this.#events} events, ${this.#mostEvents} at most in one run; ${profiles}`,
    );
    return this.#failed.length === 0 ? 0 : 1;
  }
}

// Last: the classes above must be there.
if (isMainThread) process.exitCode = await main();
else work(workerData as Options);
