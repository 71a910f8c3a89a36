import type { Service } from '../../../shared/gen/shoal/v1/objects.ts';
import type { Address } from './address.ts';

/** Set by `docker stack deploy`. */
const STACK_LABEL = 'com.docker.stack.namespace';

/** What is asked of the store's services. */
export interface ServiceLookup {
  byId(id: string): Service | undefined;
  byName(name: string): Service | undefined;
  all(): Iterable<Service>;
}

export type Resolution =
  /** The routing mesh carries it: `port` is published on every host of the cluster, this one among them. */
  | Readonly<{ kind: 'published'; port: number; service: string }>
  /**
   * A host outside of the cluster, or none. `hint`: a service is called so, but cannot be reached from a manager; said
   * when the host cannot be reached either.
   */
  | Readonly<{ kind: 'host'; hint?: string }>;

/**
 * Where `address` leads that a metric of the service `askedBy` names. Names are those that a container of the service
 * would use: of a service in its own stack without the stack's name, of any service in full, and a name that only one
 * stack has. A manager is on no overlay network, so the service must publish the port, in ingress mode.
 *
 * Work is proportional to the number of services only for a name that is no service's in full and has no dot.
 */
export function resolveAddress(
  services: ServiceLookup,
  askedBy: string,
  { host, port }: Address,
): Resolution {
  // Names of services have neither: an address or a host's full name is not looked for.
  if (/[.:]/.test(host)) return { kind: 'host' };
  const stack = services.byId(askedBy)?.spec?.labels[STACK_LABEL] ?? '';
  const own = stack === '' ? undefined : services.byName(`${stack}_${host}`);
  const named = own ?? services.byName(host);
  const candidates = named === undefined ? inSomeStack(services, host) : [named];
  const found = candidates.flatMap((service) => {
    const publishedPort = publishedBy(service, port);
    return publishedPort === undefined ? [] : [{ service, publishedPort }];
  });
  const [first, second] = found;
  if (first === undefined) {
    const [service] = candidates;
    if (service === undefined) return { kind: 'host' };
    return {
      kind: 'host',
      hint: `service ${nameOf(service)} does not publish port ${port} in ingress mode, so managers cannot reach it`,
    };
  }
  if (second !== undefined) {
    const names = `${nameOf(first.service)} and ${nameOf(second.service)}`;
    return { kind: 'host', hint: `both ${names} publish port ${port}: name one in full` };
  }
  return { kind: 'published', port: first.publishedPort, service: nameOf(first.service) };
}

function inSomeStack(services: ServiceLookup, host: string): Service[] {
  const found: Service[] = [];
  for (const service of services.all()) {
    const stack = service.spec?.labels[STACK_LABEL] ?? '';
    if (stack !== '' && nameOf(service) === `${stack}_${host}`) found.push(service);
  }
  return found;
}

/** The port as it was allocated: of the spec it may be 0. */
function publishedBy(service: Service, targetPort: number): number | undefined {
  return service.endpoint?.ports.find(
    (port) =>
      port.targetPort === targetPort &&
      port.protocol === 'tcp' &&
      port.publishMode !== 'host' &&
      port.publishedPort > 0,
  )?.publishedPort;
}

function nameOf(service: Service): string {
  return service.spec?.name ?? service.id;
}
