import type { Endpoint, ServiceVip } from '../../shared/gen/shoal/v1/dispatcher.ts';
import { isIpv4 } from './names.ts';
import type { Backend } from './slots.ts';
import type { NetworkSlice } from './view.ts';

/** Who is tried by what: key of an element of the set `knocks` -> id of the service. */
export type Held = ReadonlyMap<string, string>;

const NOTHING: Held = new Map();
const addresses = new WeakMap<NetworkSlice, Held>();
const ports = new WeakMap<NetworkSlice, Held>();

/** Ready back-ends by service. */
export function readyByService(endpoints: readonly Endpoint[]): Map<string, Backend[]> {
  const groups = new Map<string, Backend[]>();
  for (const { serviceId, taskId, address, ready } of endpoints) {
    if (!ready || !isIpv4(address)) continue;
    const group = groups.get(serviceId);
    if (group === undefined) groups.set(serviceId, [{ taskId, address }]);
    else group.push({ taskId, address });
  }
  return groups;
}

/** Ports that this service has on every host, as the host's table names them. */
export function publishedKeys({ ports: published }: ServiceVip) {
  return published
    .filter(({ publishMode, publishedPort }) => publishMode !== 'host' && publishedPort !== 0)
    .map((port) => ({
      key: `${port.protocol || 'tcp'} . ${port.publishedPort}`,
      targetPort: port.targetPort,
    }));
}

/** Virtual addresses of a network whose service has no back-end, and whose clients wait for one. */
export function heldAddresses(slice: NetworkSlice): Held {
  return remembered(addresses, slice, ({ address }) => (isIpv4(address) ? [address] : []));
}

/** Published ports of the same; `slice` is the ingress network's. */
export function heldPorts(slice: NetworkSlice | undefined): Held {
  if (slice === undefined) return NOTHING;
  return remembered(ports, slice, (vip) =>
    publishedKeys(vip)
      .map(({ key }) => key)
      .filter((key) => /^(tcp|udp) /.test(key)),
  );
}

/** Once for each slice: this is asked several times a second. */
function remembered(
  memo: WeakMap<NetworkSlice, Held>,
  slice: NetworkSlice,
  keysOf: (vip: ServiceVip) => readonly string[],
): Held {
  const known = memo.get(slice);
  if (known !== undefined) return known;
  const held = heldBy(slice, keysOf);
  memo.set(slice, held);
  return held;
}

function heldBy(slice: NetworkSlice, keysOf: (vip: ServiceVip) => readonly string[]): Held {
  const candidates = slice.vips.filter(({ hold }) => hold);
  if (candidates.length === 0) return NOTHING;
  const ready = readyByService(slice.endpoints);
  const held = new Map<string, string>();
  for (const vip of candidates) {
    if (ready.has(vip.serviceId)) continue;
    for (const key of keysOf(vip)) held.set(key, vip.serviceId);
  }
  return held;
}
