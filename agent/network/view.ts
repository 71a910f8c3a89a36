import type { Endpoint, Host, ServiceVip } from '../../shared/gen/shoal/v1/dispatcher.ts';
import type { Network } from '../../shared/gen/shoal/v1/objects.ts';
import { isWirable } from './facts.ts';
import type { NetworkView } from './types.ts';

/** One network's part of a view. */
export type NetworkSlice = Readonly<{
  network: Network;
  vips: readonly ServiceVip[];
  endpoints: readonly Endpoint[];
}>;

const sliced = new WeakMap<NetworkView, ReadonlyMap<string, NetworkSlice>>();

/** A view cut by network, once for each view. Networks that cannot be wired yet are left out. */
export function sliceView(view: NetworkView): ReadonlyMap<string, NetworkSlice> {
  const known = sliced.get(view);
  if (known !== undefined) return known;
  const slices = cut(view);
  sliced.set(view, slices);
  return slices;
}

function cut(view: NetworkView): Map<string, NetworkSlice> {
  type Growing = { network: Network; vips: ServiceVip[]; endpoints: Endpoint[] };
  const slices = new Map<string, Growing>();
  for (const network of view.networks.values()) {
    if (isWirable(network)) slices.set(network.id, { network, vips: [], endpoints: [] });
  }
  for (const vip of view.vips.values()) slices.get(vip.networkId)?.vips.push(vip);
  for (const endpoint of view.endpoints.values()) {
    slices.get(endpoint.networkId)?.endpoints.push(endpoint);
  }
  return slices;
}

/**
 * Whether two slices hold the very same objects. Items of a view that did not change stay the same objects,
 * so this costs one comparison each.
 */
export function sameSlice(a: NetworkSlice, b: NetworkSlice): boolean {
  return (
    a.network === b.network && sameItems(a.vips, b.vips) && sameItems(a.endpoints, b.endpoints)
  );
}

export function sameHosts(a: ReadonlyMap<string, Host>, b: ReadonlyMap<string, Host>): boolean {
  if (a === b) return true;
  if (a.size !== b.size) return false;
  for (const [id, host] of a) if (b.get(id) !== host) return false;
  return true;
}

export function sameItems(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a === b || (a.length === b.length && a.every((item, index) => item === b[index]));
}
