import { doubledMs } from '../../shared/backoff.ts';
import { type Clock, sleep } from '../../shared/clock.ts';
import type { Task } from '../../shared/gen/shoal/v1/objects.ts';
import { usesHostNetwork } from './container-config.ts';

/** Whether a process listens, in its network, on one of the TCP ports for others than itself. */
export type Listens = (pid: number, ports: ReadonlySet<number>) => Promise<boolean>;

/** For what takes longer to come up there are health checks; a port that nobody opens holds nothing up for ever. */
const LISTENS_WITHIN_MS = 30_000;
/** What takes longer than this is told of. */
const SLOW_MS = 1_000;
const LOOKS = { firstMs: 10, lastMs: 250 };
/** Of TCP sockets in /proc/net/tcp (include/net/tcp_states.h). */
const LISTEN = '0A';
/** 127.0.0.0/8, ::1 and ::ffff:127.0.0.0/104 as the kernel prints them: words of 32 bits in the host's order. */
const OWN_ADDRESS = /^(.{6}7F|0{24}01000000|0{16}FFFF0000.{6}7F)$/;

/** The TCP ports that a service says its tasks have. None of a task in the host's network, where others listen too. */
export function tcpPortsOf(task: Task): ReadonlySet<number> {
  if (usesHostNetwork(task)) return new Set();
  const ports = task.ports.filter(({ protocol }) => (protocol || 'tcp') === 'tcp');
  return new Set(ports.map(({ targetPort }) => targetPort));
}

/** `table` is the text of /proc/PID/net/tcp or tcp6. */
export function hasListener(table: string, ports: ReadonlySet<number>): boolean {
  return table.split('\n').some((line) => {
    const [, local = '', , state] = line.trim().split(/\s+/);
    const [address = '', port = ''] = local.split(':');
    return state === LISTEN && ports.has(Number.parseInt(port, 16)) && !OWN_ADDRESS.test(address);
  });
}

/**
 * Waits until a process that has just been started listens: connections that come before are refused. Resolves when it
 * does, when aborted, and in any case after 30 s; `slow` is called once when that is not soon.
 */
export async function untilListening(
  look: () => Promise<boolean>,
  options: Readonly<{ clock: Clock; signal: AbortSignal; slow: () => void }>,
): Promise<void> {
  const { clock, signal, slow } = options;
  const sinceMs = clock.monotonicMs();
  let isTold = false;
  for (let looks = 1; !signal.aborted && !(await look()); looks += 1) {
    const waitedMs = clock.monotonicMs() - sinceMs;
    if (waitedMs >= LISTENS_WITHIN_MS) return;
    if (waitedMs >= SLOW_MS && !isTold) {
      isTold = true;
      slow();
    }
    await sleep(clock, doubledMs(looks, LOOKS), signal).catch(() => undefined); // aborted: the loop's condition sees it
  }
}
