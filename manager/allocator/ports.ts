import type { PortConfig } from '../../shared/gen/shoal/v1/objects.ts';
import { portKey } from '../../shared/model/port-key.ts';

/** Where ingress ports without a published number come from: Swarm's range. */
export const FIRST_DYNAMIC_PORT = 30_000;
export const LAST_DYNAMIC_PORT = 32_767;

export type PortConflict = Readonly<{ serviceId: string; mode: 'ingress' | 'host' }>;

export const isIngress = (port: PortConfig): boolean => port.publishMode !== 'host';

/**
 * Which service published which port. An ingress port is taken on every host, so one service has it;
 * host-mode ports of several services may be equal (their tasks then run on different hosts), but
 * not equal to an ingress port.
 */
export class PortRegistry {
  readonly #ingress = new Map<string, string>();
  readonly #host = new Map<string, Set<string>>();
  readonly #cursors = new Map<string, number>();

  /** Who is in the way of `serviceId` publishing this port; nobody is in the way of number 0. */
  conflict(port: PortConfig, serviceId: string): PortConflict | undefined {
    if (port.publishedPort === 0) return undefined;
    const key = portKey(port);
    const owner = this.#ingress.get(key);
    if (owner !== undefined && owner !== serviceId) return { serviceId: owner, mode: 'ingress' };
    if (!isIngress(port)) return undefined;
    for (const other of this.#host.get(key) ?? []) {
      if (other !== serviceId) return { serviceId: other, mode: 'host' };
    }
    return undefined;
  }

  holds(port: PortConfig, serviceId: string): boolean {
    const key = portKey(port);
    return isIngress(port)
      ? this.#ingress.get(key) === serviceId
      : this.#host.get(key)?.has(serviceId) === true;
  }

  claim(port: PortConfig, serviceId: string): void {
    if (port.publishedPort === 0) return;
    const key = portKey(port);
    if (isIngress(port)) {
      this.#ingress.set(key, serviceId);
      return;
    }
    const services = this.#host.get(key);
    if (services === undefined) this.#host.set(key, new Set([serviceId]));
    else services.add(serviceId);
  }

  release(port: PortConfig, serviceId: string): void {
    const key = portKey(port);
    if (isIngress(port)) {
      if (this.#ingress.get(key) === serviceId) this.#ingress.delete(key);
      return;
    }
    const services = this.#host.get(key);
    services?.delete(serviceId);
    if (services?.size === 0) this.#host.delete(key);
  }

  /** A free number of the dynamic range, not one given out lately; undefined when none is left. */
  dynamic(protocol: string): number | undefined {
    const count = LAST_DYNAMIC_PORT - FIRST_DYNAMIC_PORT + 1;
    const start = this.#cursors.get(protocol) ?? 0;
    for (let step = 0; step < count; step++) {
      const offset = (start + step) % count;
      const key = `${protocol}/${FIRST_DYNAMIC_PORT + offset}`;
      if (this.#ingress.has(key) || this.#host.has(key)) continue;
      this.#cursors.set(protocol, (offset + 1) % count);
      return FIRST_DYNAMIC_PORT + offset;
    }
    return undefined;
  }
}
