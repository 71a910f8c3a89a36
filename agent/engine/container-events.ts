import { messageOf } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { ContainerConfig, Runtime } from '../runtime/types.ts';
import type { EventBus, NewEvent } from './events.ts';

/** An event of a container in Docker's form: its image, name and labels go with it. */
export function containerEvent(
  config: Pick<ContainerConfig, 'id' | 'name' | 'image' | 'labels'>,
  action: string,
  extra: Readonly<Record<string, string>> = {},
): NewEvent {
  return {
    type: 'container',
    action,
    actorId: config.id,
    attributes: { ...config.labels, image: config.image, name: config.name, ...extra },
  };
}

/** Tells that a container became healthy or unhealthy, as Docker words it. */
export async function publishHealth(
  deps: Readonly<{ runtime: Pick<Runtime, 'get'>; events: EventBus; log: Log }>,
  containerId: string,
  status: string,
): Promise<void> {
  try {
    const container = await deps.runtime.get(containerId);
    if (container === undefined) return;
    deps.events.publish(containerEvent(container.config, `health_status: ${status}`));
  } catch (error) {
    const why = messageOf(error);
    deps.log.warn('health of a container not told', { id: containerId, error: why });
  }
}

/** Tells ends of containers, which only the runtime sees. Runs until the signal aborts. */
export async function publishContainerEnds(
  deps: Readonly<{ runtime: Pick<Runtime, 'events' | 'get'>; events: EventBus; log: Log }>,
  signal: AbortSignal,
): Promise<void> {
  for await (const event of deps.runtime.events(signal)) {
    if (event.kind === 'resync') continue;
    try {
      const container = await deps.runtime.get(event.id);
      if (container === undefined) continue;
      const extra = event.kind === 'exit' ? { exitCode: String(event.exitCode) } : {};
      const action = event.kind === 'exit' ? 'die' : 'oom';
      deps.events.publish(containerEvent(container.config, action, extra));
    } catch (error) {
      deps.log.warn('event of a container not told', { id: event.id, error: messageOf(error) });
    }
  }
}
