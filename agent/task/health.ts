import { type Clock, sleep } from '../../shared/clock.ts';
import { messageOf } from '../../shared/errors.ts';
import type { Healthcheck } from '../../shared/gen/shoal/v1/objects.ts';
import { nsToMs } from '../../shared/model/units.ts';
import type { Runtime } from '../runtime/types.ts';
import type { HealthBook } from './health-book.ts';

export type Health = Readonly<{ healthy: boolean; output: string }>;

// Docker's defaults.
const INTERVAL_MS = 30_000;
const TIMEOUT_MS = 30_000;
const START_INTERVAL_MS = 5_000;
const RETRIES = 3;
const OUTPUT_BYTES = 4096;

export type Probe = Readonly<{ ok: boolean; output: string; exitCode: number }>;
export type HealthState = Readonly<{ healthy: boolean; failures: number; startedAtMs: number }>;

/**
 * The state after one probe, and the verdict when it changes: healthy at the first success, unhealthy after
 * `retries` failures in a row; failures in the start period do not count until it was healthy once.
 */
export function afterProbe(
  state: HealthState,
  probe: Probe,
  check: Healthcheck,
  nowMs: number,
): { state: HealthState; verdict: Health | undefined } {
  if (probe.ok) {
    const verdict = state.healthy ? undefined : { healthy: true, output: probe.output };
    return { state: { ...state, healthy: true, failures: 0 }, verdict };
  }
  const starting = !state.healthy && nowMs - state.startedAtMs < nsToMs(check.startPeriodNs);
  const failures = starting ? 0 : state.failures + 1;
  const verdict =
    failures >= (check.retries || RETRIES) ? { healthy: false, output: probe.output } : undefined;
  return { state: { ...state, failures }, verdict };
}

/**
 * Verdicts on a running container: without a check, healthy once it is up, and nothing more; where checks are
 * switched off (`NONE`), at once. Ends with the signal or after the first unhealthy verdict.
 */
export async function* monitorHealth(options: {
  runtime: Runtime;
  clock: Clock;
  containerId: string;
  check: Healthcheck | undefined;
  /** Resolves when it is up, or with the signal. */
  up: () => Promise<void>;
  book: HealthBook;
  signal: AbortSignal;
}): AsyncGenerator<Health> {
  const { clock, signal, book, containerId } = options;
  const check = options.check;
  const cmd = check === undefined ? undefined : commandOf(check.test);
  if (check === undefined || cmd === undefined) {
    if (check?.test[0] !== 'NONE') await options.up();
    if (signal.aborted) return;
    yield { healthy: true, output: '' };
    return;
  }
  book.begin(containerId, check);
  let state: HealthState = { healthy: false, failures: 0, startedAtMs: clock.monotonicMs() };
  while (!signal.aborted) {
    const starting =
      !state.healthy && clock.monotonicMs() - state.startedAtMs < nsToMs(check.startPeriodNs);
    const waitMs = starting
      ? nsToMs(check.startIntervalNs) || START_INTERVAL_MS
      : nsToMs(check.intervalNs) || INTERVAL_MS;
    if (!(await sleptWell(clock, waitMs, signal))) return;
    const startedAtMs = clock.now();
    const probe = await runProbe(
      options.runtime,
      clock,
      containerId,
      cmd,
      nsToMs(check.timeoutNs) || TIMEOUT_MS,
      signal,
    );
    if (signal.aborted) return;
    const next = afterProbe(state, probe, check, clock.monotonicMs());
    state = next.state;
    const { exitCode, output } = probe;
    book.note(
      containerId,
      { startedAtMs, endedAtMs: clock.now(), exitCode, output },
      { status: statusOf(next), failingStreak: state.failures },
    );
    if (next.verdict !== undefined) yield next.verdict;
    if (next.verdict?.healthy === false) return;
  }
}

function statusOf({
  state,
  verdict,
}: ReturnType<typeof afterProbe>): 'starting' | 'healthy' | 'unhealthy' {
  if (verdict?.healthy === false) return 'unhealthy';
  return state.healthy ? 'healthy' : 'starting';
}

/** `["NONE"]` and an empty test mean no check; `CMD-SHELL` runs by the shell. */
function commandOf(test: readonly string[]): readonly string[] | undefined {
  const [kind, ...rest] = test;
  if (kind === 'CMD' && rest.length > 0) return rest;
  if (kind === 'CMD-SHELL' && rest[0] !== undefined) return ['/bin/sh', '-c', rest[0]];
  return undefined;
}

async function sleptWell(clock: Clock, delayMs: number, signal: AbortSignal): Promise<boolean> {
  try {
    await sleep(clock, delayMs, signal);
    return true;
  } catch {
    // Aborted: the container ended or shall end.
    return false;
  }
}

async function runProbe(
  runtime: Runtime,
  clock: Clock,
  containerId: string,
  cmd: readonly string[],
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Probe> {
  const late = new AbortController();
  const timer = clock.after(timeoutMs, () => late.abort());
  try {
    const process = await runtime.exec(
      containerId,
      {
        cmd,
        env: [],
        workingDir: '',
        user: '',
        tty: false,
        attachStdin: false,
        attachStdout: true,
        attachStderr: true,
        privileged: false,
      },
      AbortSignal.any([signal, late.signal]),
    );
    late.signal.addEventListener('abort', () => void process.kill(9).catch(() => undefined), {
      once: true,
    });
    let output = '';
    for await (const { data } of process.output()) {
      if (output.length < OUTPUT_BYTES) output += new TextDecoder().decode(data);
    }
    const exitCode = await process.wait();
    if (late.signal.aborted)
      return {
        ok: false,
        output: `Health check exceeded timeout (${timeoutMs} ms)`,
        exitCode: -1,
      };
    return { ok: exitCode === 0, output: output.slice(0, OUTPUT_BYTES).trim(), exitCode };
  } catch (error) {
    return { ok: false, output: messageOf(error), exitCode: -1 };
  } finally {
    timer.cancel();
  }
}
