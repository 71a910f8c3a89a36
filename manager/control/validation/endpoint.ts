import type { EndpointSpec, PortConfig } from '../../../shared/gen/shoal/v1/objects.ts';
import { portKey } from '../../../shared/model/port-key.ts';
import { invalid } from '../refuse.ts';

const PROTOCOLS = ['tcp', 'udp', 'sctp'];
const MAX_PORT = 65_535;

/** The endpoint with Docker's defaults filled in: tcp, ingress; undefined stays undefined. */
export function completeEndpoint(endpoint: EndpointSpec | undefined): EndpointSpec | undefined {
  return (
    endpoint && {
      ...endpoint,
      ports: endpoint.ports.map((port) => ({
        ...port,
        protocol: port.protocol || 'tcp',
        publishMode: port.publishMode || 'ingress',
      })),
    }
  );
}

export function checkEndpoint(endpoint: EndpointSpec | undefined): void {
  if (endpoint === undefined) return;
  if (!['', 'vip', 'dnsrr'].includes(endpoint.mode)) {
    throw invalid(
      `EndpointSpec: mode ${JSON.stringify(endpoint.mode)} is unknown: expected vip or dnsrr`,
    );
  }
  const published = new Set<string>();
  for (const port of endpoint.ports) {
    checkPort(port);
    if (endpoint.mode === 'dnsrr' && port.publishMode === 'ingress') {
      throw invalid("EndpointSpec: port published with ingress mode can't be used with dnsrr mode");
    }
    if (port.publishedPort === 0) continue; // chosen later, without conflict
    const key = portKey(port);
    if (published.has(key)) {
      throw invalid(
        `EndpointSpec: duplicate published ports provided: ${port.publishedPort}/${port.protocol}`,
      );
    }
    published.add(key);
  }
}

function checkPort({ protocol, targetPort, publishedPort, publishMode }: PortConfig): void {
  if (!PROTOCOLS.includes(protocol)) {
    throw invalid(
      `EndpointSpec: protocol ${JSON.stringify(protocol)} of port ${targetPort} is unknown: expected one of ${PROTOCOLS.join(', ')}`,
    );
  }
  if (publishMode !== 'ingress' && publishMode !== 'host') {
    throw invalid(
      `EndpointSpec: publish mode ${JSON.stringify(publishMode)} of port ${targetPort} is unknown: expected ingress or host`,
    );
  }
  if (targetPort < 1 || targetPort > MAX_PORT) {
    throw invalid(`EndpointSpec: target port ${targetPort} is out of range: must be 1 to 65535`);
  }
  if (publishedPort < 0 || publishedPort > MAX_PORT) {
    throw invalid(
      `EndpointSpec: published port ${publishedPort} is out of range: must be 1 to 65535`,
    );
  }
}
