import type { Clock } from '../../shared/clock.ts';
import { ShoalError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { SIGKILL, SIGTERM, signalNumber } from '../../shared/model/signal.ts';
import type { Runtime } from '../runtime/types.ts';
import { within } from './within.ts';

/** After SIGKILL: a process that has not gone by then is stuck in the kernel, and said to be. */
const KILL_WAIT_MS = 10_000;
/** Docker's. */
const GRACE_MS = 10_000;

/** How a process ended. */
export type Outcome = Readonly<{ exitCode: number; oomKilled: boolean }>;

/** The signal, the grace period, SIGKILL. `exit` settles when the process has ended. */
export async function stopContainer(
  { runtime, clock, log }: Readonly<{ runtime: Runtime; clock: Clock; log: Log }>,
  stop: Readonly<{ containerId: string; stopSignal: string; exit: Promise<Outcome> }>,
): Promise<Outcome> {
  const { containerId, exit } = stop;
  const config = (await runtime.get(containerId))?.config;
  // As Docker: an image that names a signal there is not is stopped like one that names none.
  const signal = signalNumber(stop.stopSignal || config?.stopSignal || '') ?? SIGTERM;
  await runtime.kill(containerId, signal);
  if (await within(clock, config?.stopGraceMs ?? GRACE_MS, exit)) return exit;
  await runtime.kill(containerId, SIGKILL);
  if (await within(clock, KILL_WAIT_MS, exit)) return exit;
  log.error('a container does not die of SIGKILL', { container: containerId });
  throw new ShoalError(
    'internal',
    'the container does not end: its process is stuck in the kernel',
  );
}
