import { GATEWAY_LINK, HOST_INNER_ADDRESS, HOST_LINK_PREFIX, VXLAN_LINK } from './names.ts';
import type { LinkState, NamespaceState, TableState } from './state.ts';

/** Answers of `ip -j` and friends, one text each; an empty one reads as an empty list. */
export type Dump = Readonly<{
  /** ip -d -j link show */
  links: string;
  /** ip -4 -j addr show */
  addresses: string;
  /** ip -4 -j route show table all */
  routes: string;
  /** ip -4 -j neigh show nud permanent */
  neighbours: string;
  /** ip -4 -j rule show */
  rules: string;
  /** bridge -j fdb show */
  forwarding: string;
  /** nft -j list table ip NAME; empty when there is none */
  table: string;
}>;

type Json = Readonly<Record<string, unknown>>;

/** What is ours in a namespace of a network: everything in it but what the kernel put there. */
export function parseNetwork(dump: Dump, rules: number): NamespaceState {
  return parse(dump, rules, (device) => device !== 'lo');
}

/** What is ours in the host's own namespace: our links and what hangs on them. */
export function parseHost(dump: Dump, rules: number): NamespaceState {
  const state = parse(dump, rules, (device) => device.startsWith(HOST_LINK_PREFIX));
  const inner = `lo ${HOST_INNER_ADDRESS}/32`;
  return {
    ...state,
    addresses: new Set(dump.addresses.includes(`"${HOST_INNER_ADDRESS}"`) ? [inner] : []),
    rules: new Set(),
    forwarding: new Map(),
  };
}

/** `rules` is the number of rules our table has: with another one its fingerprint counts as unknown. */
function parse(dump: Dump, rules: number, ours: (device: string) => boolean): NamespaceState {
  return {
    links: parseLinks(dump.links, ours),
    addresses: parseAddresses(dump.addresses, ours),
    routes: parseRoutes(dump.routes, ours),
    neighbours: new Map(
      list(dump.neighbours)
        .filter(({ dev }) => ours(text(dev)))
        .map(({ dev, dst, lladdr }) => [`${text(dev)} ${text(dst)}`, text(lladdr)]),
    ),
    forwarding: new Map(
      list(dump.forwarding)
        .filter(({ ifname, dst }) => ifname === VXLAN_LINK && dst !== undefined)
        .map(({ mac, dst }) => [text(mac), text(dst)]),
    ),
    rules: parseRules(dump.rules),
    table: parseTable(dump.table, rules),
  };
}

function parseLinks(json: string, ours: (device: string) => boolean): Map<string, LinkState> {
  const links = new Map<string, LinkState>();
  for (const { ifname, flags, mtu, address, linkinfo } of list(json)) {
    const name = text(ifname);
    if (!ours(name)) continue;
    const info = object(linkinfo);
    const vxlan = object(info.info_data);
    const up = array(flags).includes('UP');
    const facts = { up, mtu: Number(mtu), mac: text(address) };
    if (info.info_kind === 'vxlan') {
      const local = text(vxlan.local);
      links.set(name, {
        kind: 'vxlan',
        ...facts,
        vxlan: { vni: Number(vxlan.id), port: Number(vxlan.port), local },
      });
    } else {
      links.set(name, { kind: 'veth', ...facts });
    }
  }
  return links;
}

function parseAddresses(json: string, ours: (device: string) => boolean): Set<string> {
  const addresses = new Set<string>();
  for (const { ifname, addr_info } of list(json)) {
    const name = text(ifname);
    if (!ours(name)) continue;
    for (const entry of array(addr_info)) {
      const { local, prefixlen } = object(entry);
      addresses.add(`${name} ${text(local)}/${Number(prefixlen)}`);
    }
  }
  return addresses;
}

function parseRoutes(json: string, ours: (device: string) => boolean): Map<string, string> {
  const routes = new Map<string, string>();
  for (const route of list(json)) {
    const table = route.table === undefined ? 'main' : text(route.table);
    if (table === 'local' || route.protocol === 'kernel') continue;
    const key = `${table} ${text(route.dst)}`;
    const device = text(route.dev);
    if (route.type === 'unreachable') {
      // In the host's namespace there are none of ours.
      if (ours(GATEWAY_LINK)) routes.set(key, 'unreachable');
    } else if (ours(device)) {
      const onlink = array(route.flags).includes('onlink') ? ' onlink' : '';
      routes.set(
        key,
        route.gateway === undefined
          ? `dev ${device} scope ${text(route.scope)}`
          : `via ${text(route.gateway)} dev ${device}${onlink}`,
      );
    }
  }
  return routes;
}

function parseRules(json: string): Set<string> {
  const rules = new Set<string>();
  for (const { priority, fwmark, table, goto: target } of list(json)) {
    // The three that every namespace is born with.
    if ([0, 32766, 32767].includes(Number(priority))) continue;
    const mark = fwmark === undefined ? '' : ` fwmark ${text(fwmark)}`;
    const end = target === undefined ? `lookup ${text(table)}` : `goto ${Number(target)}`;
    rules.add(`pref ${Number(priority)}${mark} ${end}`);
  }
  return rules;
}

function parseTable(json: string, rulesExpected: number): TableState | undefined {
  if (json.trim() === '') return undefined;
  const items = array(object(JSON.parse(json)).nftables).map(object);
  const sets = new Map<string, Map<string, string>>();
  const slots = new Map<string, string[]>();
  let rules = 0;
  for (const item of items) {
    if (item.rule !== undefined) rules += 1;
    const set = object(item.set ?? item.map);
    if (set.name === undefined) continue;
    const name = text(set.name);
    const size = /^m(\d+)$/.exec(name)?.[1];
    const entries = array(set.elem).map((entry): [string, string] =>
      Array.isArray(entry)
        ? [elementText(entry[0]), elementText(entry[1])]
        : [elementText(entry), ''],
    );
    if (size === undefined) {
      sets.set(name, new Map(entries));
      continue;
    }
    for (const [key, value] of entries) {
      const at = key.lastIndexOf(' . ');
      const slotsKey = `${name} ${key.slice(0, at)}`;
      const values = slots.get(slotsKey) ?? new Array<string>(Number(size)).fill('');
      values[Number(key.slice(at + 3))] = value;
      slots.set(slotsKey, values);
    }
  }
  const gen = sets.get('gen');
  sets.delete('gen');
  const fingerprint = rules === rulesExpected ? Number(gen?.get('0') ?? Number.NaN) : Number.NaN;
  return { fingerprint, sets, slots };
}

/** Packets by element, of one set as `nft -j list set` shows it. */
export function parseCounters(json: string): Map<string, number> {
  const counters = new Map<string, number>();
  for (const item of array(object(JSON.parse(json)).nftables)) {
    for (const element of array(object(object(item).set).elem)) {
      const { counter } = object(object(element).elem);
      if (counter !== undefined)
        counters.set(elementText(element), Number(object(counter).packets));
    }
  }
  return counters;
}

/** An element of a set in the words that `add element` takes. */
function elementText(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value);
  const { concat, prefix, goto, elem } = object(value);
  if (elem !== undefined) return elementText(object(elem).val);
  if (concat !== undefined) return array(concat).map(elementText).join(' . ');
  if (prefix !== undefined) {
    const { addr, len } = object(prefix);
    return `${text(addr)}/${Number(len)}`;
  }
  if (goto !== undefined) return `goto ${text(object(goto).target)}`;
  // Something we never write: no plan has it, so it is removed or the table is replaced.
  return JSON.stringify(value);
}

function list(json: string): Json[] {
  return json.trim() === '' ? [] : array(JSON.parse(json)).map(object);
}

function array(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function object(value: unknown): Json {
  return typeof value === 'object' && value !== null ? (value as Json) : {};
}

function text(value: unknown): string {
  return value === undefined || value === null ? '' : String(value);
}
