// One host of a test: a data plane in a process of its own, inside the host's network and mount namespaces.
//   host-process.ts NODE_ID ADDRESS [DNS_FORWARDER:PORT]
// Reads {id, method, args} lines, writes {id, result} or {id, error} lines.
import { createInterface } from 'node:readline';
import { LinuxDataPlane } from '../../../../agent/network/io/linux-data-plane.ts';
import type { LocalTask } from '../../../../agent/network/types.ts';
import { isShoalError, messageOf } from '../../../../shared/errors.ts';
import { consoleLog } from '../../../../shared/io/console-log.ts';
import { systemClock, systemRandom } from '../../../../shared/io/system.ts';
import { decodeView, type PlainView } from './views.ts';

const [nodeId = '', hostAddress = '', forwarder] = process.argv.slice(2);
const [server, port] = forwarder?.split(':') ?? [];
const plane = new LinuxDataPlane({
  nodeId,
  hostAddress,
  clock: systemClock,
  random: systemRandom,
  log: consoleLog('warn', { host: nodeId }),
  dnsForwarders: server === undefined ? [] : [server],
  dnsForwarderPort: port === undefined ? undefined : Number(port),
});

const methods: Record<string, (args: never) => unknown> = {
  adopt: (tasks: LocalTask[]) => plane.adopt(tasks),
  setView: async (plain: PlainView) => {
    const view = decodeView(plain, nodeId);
    const applied = new Promise<void>((resolve) => {
      const stop = plane.onApplied((revision) => {
        if (revision < view.revision) return;
        stop();
        resolve();
      });
    });
    plane.setView(view);
    await applied;
  },
  attach: (task: LocalTask) => plane.attach(task, AbortSignal.timeout(20_000)),
  detach: (taskId: string) => plane.detach(taskId),
  count: (taskIds: string[]) => plane.count(new Set(taskIds)),
  traffic: async () => Object.fromEntries(await plane.traffic()),
  isHolding: () => plane.isHolding,
  knocks: () => plane.knocks(),
  warnings: () => plane.warnings,
  removeAll: () => plane.removeAll(),
  close: async () => {
    await plane.close();
    setImmediate(() => process.exit(0));
  },
  hostInterface: ({ taskId, networkId }: { taskId: string; networkId: string }) =>
    plane.hostInterface(taskId, networkId),
  cpu: () => {
    const { user, system } = process.cpuUsage();
    return { ownMs: (user + system) / 1000 };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, method, args } = JSON.parse(line);
  Promise.resolve()
    .then(() => methods[method]?.(args as never))
    .then(
      (result) => process.stdout.write(`${JSON.stringify({ id, result: result ?? null })}\n`),
      (error) =>
        process.stdout.write(
          `${JSON.stringify({ id, error: messageOf(error), code: isShoalError(error) ? error.code : '' })}\n`,
        ),
    );
}
process.exit(0);
