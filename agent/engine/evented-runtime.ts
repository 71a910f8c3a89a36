import type { Runtime } from '../runtime/types.ts';
import { containerEvent } from './container-events.ts';
import type { EventBus } from './events.ts';

/** The runtime as tasks use it, each step told as an event; the ends are told by `publishContainerEnds`. */
export function eventedRuntime(runtime: Runtime, events: EventBus): Runtime {
  const tell = async (id: string, action: string, extra: Readonly<Record<string, string>> = {}) => {
    const container = await runtime.get(id);
    if (container !== undefined) events.publish(containerEvent(container.config, action, extra));
  };
  return {
    async create(config, image, files, signal) {
      await runtime.create(config, image, files, signal);
      events.publish(containerEvent(config, 'create'));
    },
    async start(id, signal) {
      const started = await runtime.start(id, signal);
      await tell(id, 'start');
      return started;
    },
    async kill(id, signal) {
      await runtime.kill(id, signal);
      await tell(id, 'kill', { signal: String(signal) });
    },
    async remove(id, options) {
      const container = await runtime.get(id);
      await runtime.remove(id, options);
      if (container !== undefined) events.publish(containerEvent(container.config, 'destroy'));
    },
    list: () => runtime.list(),
    get: (id) => runtime.get(id),
    wait: (id, signal) => runtime.wait(id, signal),
    events: (signal) => runtime.events(signal),
    exec: (id, exec, signal) => runtime.exec(id, exec, signal),
    logs: (id, query, signal) => runtime.logs(id, query, signal),
    stats: (id) => runtime.stats(id),
    writtenBytes: (id) => runtime.writtenBytes(id),
    processes: (id) => runtime.processes(id),
  };
}
