import { cidrContains, parseCidr, parseIp } from '../../shared/model/cidr.ts';
import { withoutLinks } from './diff.ts';
import { EGRESS_LINK_PREFIX, VXLAN_LINK } from './names.ts';
import type { NamespaceState } from './state.ts';

/**
 * The plan of the host's namespace as long as no view has come. What a former run of this process left of networks
 * and published ports is right then: nothing of it may go yet. Containers on no network are planned all the same.
 */
export function keepUnseen(
  actual: NamespaceState,
  planned: NamespaceState,
  egressPool: string,
): NamespaceState {
  return added(withoutEgress(actual, egressPool), planned);
}

/** The host's state without containers that are on no network: those are planned with or without a view. */
function withoutEgress(state: NamespaceState, egressPool: string): NamespaceState {
  const links = [...state.links.keys()].filter((name) => name.startsWith(EGRESS_LINK_PREFIX));
  const rest = withoutLinks(state, new Set(links), VXLAN_LINK);
  if (rest.table === undefined) return rest;
  const pool = parseCidr(egressPool);
  const inPool = (target: string) => {
    const ip = parseIp(target.split(' . ')[0] ?? '');
    return pool !== undefined && ip !== undefined && cidrContains(pool, ip);
  };
  const sets = new Map(rest.table.sets);
  const keep = (name: string, wanted: (entry: [string, string]) => boolean) => {
    const entries = sets.get(name);
    if (entries !== undefined) sets.set(name, new Map([...entries].filter(wanted)));
  };
  keep('ports', ([, target]) => !inPool(target));
  keep('loops', ([key]) => !key.startsWith(EGRESS_LINK_PREFIX));
  return { ...rest, table: { ...rest.table, sets } };
}

/** `planned` on top of `actual`. */
function added(actual: NamespaceState, planned: NamespaceState): NamespaceState {
  const { table } = planned;
  const sets = new Map<string, ReadonlyMap<string, string>>();
  for (const part of [actual.table?.sets, table?.sets]) {
    for (const [name, entries] of part ?? []) {
      sets.set(name, new Map([...(sets.get(name) ?? []), ...entries]));
    }
  }
  const whole = table !== undefined && actual.table?.fingerprint === table.fingerprint;
  return {
    links: new Map([...actual.links, ...planned.links]),
    addresses: new Set([...actual.addresses, ...planned.addresses]),
    routes: new Map([...actual.routes, ...planned.routes]),
    neighbours: new Map([...actual.neighbours, ...planned.neighbours]),
    forwarding: new Map([...actual.forwarding, ...planned.forwarding]),
    rules: new Set([...actual.rules, ...planned.rules]),
    table: whole
      ? { ...table, sets, slots: new Map([...(actual.table?.slots ?? []), ...table.slots]) }
      : (actual.table ?? table),
  };
}
