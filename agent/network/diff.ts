import { CONTAINER_LINK_PREFIX, EGRESS_LINK_PREFIX } from './names.ts';
import type { LinkState, NamespaceState, TableState } from './state.ts';

/** Element changes of one table: one transaction. */
export type TableChange =
  | Readonly<{ kind: 'none' }>
  /** The whole table anew, in one transaction: flows keep their translation, as no hook is ever away. */
  | Readonly<{ kind: 'replace' }>
  | Readonly<{ kind: 'update'; remove: ElementChange[]; add: ElementChange[] }>;

export type ElementChange = Readonly<{ set: string; key: string; value: string }>;

/** A back-end that a VIP (or published port) leads to no more: its UDP flows must be cut. */
export type CutFlow = Readonly<{ key: string; backend: string }>;

/**
 * What turns one state into another, in the order it must happen: links and routes come before the table
 * that leads to them, and go after it.
 */
export type Changes = Readonly<{
  /** Links to make, with the state they shall have; container links are made from the container's side. */
  makeLinks: ReadonlyMap<string, LinkState>;
  /** Lines for `ip -batch`, before the table. */
  before: readonly string[];
  /** Lines for `bridge -batch`, before the table. */
  forwarding: readonly string[];
  table: TableChange;
  cut: readonly CutFlow[];
  /** Lines for `ip -batch`, after the table. */
  after: readonly string[];
}>;

export function isEmpty(changes: Changes): boolean {
  return (
    changes.makeLinks.size === 0 &&
    changes.before.length === 0 &&
    changes.forwarding.length === 0 &&
    changes.table.kind === 'none' &&
    changes.after.length === 0
  );
}

/** Whether a link of this name is one end of a container's. */
export function isContainerLink(name: string): boolean {
  return name.startsWith(EGRESS_LINK_PREFIX) || name.startsWith(CONTAINER_LINK_PREFIX);
}

/** The least changes that make `actual` into `desired`; `vxlan` is the name of the VXLAN device. */
export function diff(actual: NamespaceState, desired: NamespaceState, vxlan: string): Changes {
  const links = diffLinks(actual, desired);
  // What the kernel drops by itself with a device has to be made again on the new one.
  const base = links.renewed.size === 0 ? actual : withoutLinks(actual, links.renewed, vxlan);
  const before = [...links.before];
  const after: string[] = [];
  const forwarding: string[] = [];

  for (const entry of desired.addresses) {
    if (!base.addresses.has(entry)) before.push(`addr replace ${addressWords(entry)}`);
  }
  // Neighbours first: a route through an unresolved next hop would drop packets for a moment.
  for (const [key, mac] of desired.neighbours) {
    if (base.neighbours.get(key) === mac) continue;
    const [device, address] = pair(key);
    before.push(`neigh replace ${address} lladdr ${mac} dev ${device} nud permanent`);
  }
  for (const [mac, address] of desired.forwarding) {
    if (base.forwarding.get(mac) === address) continue;
    forwarding.push(`fdb replace ${mac} dev ${vxlan} dst ${address} self permanent`);
  }
  for (const [key, value] of desired.routes) {
    if (base.routes.get(key) !== value) before.push(`route replace ${routeWords(key, value)}`);
  }
  for (const rule of desired.rules)
    if (!base.rules.has(rule)) before.push(`rule add ${ruleWords(rule)}`);

  for (const rule of base.rules)
    if (!desired.rules.has(rule)) after.push(`rule del ${ruleWords(rule)}`);
  for (const [key, value] of base.routes) {
    if (!desired.routes.has(key)) after.push(`route del ${routeWords(key, value)}`);
  }
  for (const key of base.neighbours.keys()) {
    if (desired.neighbours.has(key)) continue;
    const [device, address] = pair(key);
    after.push(`neigh del ${address} dev ${device}`);
  }
  const forwardingAfter: string[] = [];
  for (const [mac, address] of base.forwarding) {
    if (!desired.forwarding.has(mac)) {
      forwardingAfter.push(`fdb del ${mac} dev ${vxlan} dst ${address} self`);
    }
  }
  for (const entry of base.addresses) {
    if (!desired.addresses.has(entry)) after.push(`addr del ${addressWords(entry)}`);
  }
  const table = diffTable(base.table, desired.table);
  return {
    makeLinks: links.make,
    before,
    // A peer that left has no routes by now or loses them below; its entry harms nobody meanwhile.
    forwarding: [...forwarding, ...forwardingAfter],
    table: table.change,
    cut: table.cut,
    after: [...after, ...links.after],
  };
}

type LinkChanges = Readonly<{
  make: Map<string, LinkState>;
  renewed: Set<string>;
  before: string[];
  after: string[];
}>;

function diffLinks(actual: NamespaceState, desired: NamespaceState): LinkChanges {
  const changes: LinkChanges = { make: new Map(), renewed: new Set(), before: [], after: [] };
  for (const [name, wanted] of desired.links) {
    const found = actual.links.get(name);
    if (found === undefined || !sameDevice(found, wanted)) {
      if (found !== undefined) changes.renewed.add(name);
      changes.make.set(name, wanted);
    }
    const now: LinkState =
      found !== undefined && !changes.renewed.has(name) ? found : { ...wanted, up: false };
    const words: string[] = [];
    if (wanted.mac !== undefined && now.mac !== wanted.mac) words.push(`address ${wanted.mac}`);
    if (wanted.mtu !== undefined && now.mtu !== wanted.mtu) words.push(`mtu ${wanted.mtu}`);
    if (wanted.up && !now.up) words.push('up');
    if (words.length > 0) changes.before.push(`link set ${name} ${words.join(' ')}`);
  }
  for (const [name, found] of actual.links) {
    if (desired.links.has(name)) continue;
    // A deletion waits for a grace period of the kernel (22 ms measured); a container's link goes with its
    // namespace, where many share one wait. Only one that stayed behind is deleted by name.
    if (isContainerLink(name) && found.up) changes.after.push(`link set ${name} down`);
    else changes.after.push(`link del ${name}`);
  }
  return changes;
}

/** Links of `wanted` that are not there, or are another device than wanted and must be made anew. */
export function missingLinks(
  actual: NamespaceState,
  wanted: ReadonlyMap<string, LinkState>,
): string[] {
  return [...wanted].flatMap(([name, link]) => {
    const found = actual.links.get(name);
    return found !== undefined && sameDevice(found, link) ? [] : [name];
  });
}

function sameDevice(a: LinkState, b: LinkState): boolean {
  return (
    a.kind === b.kind &&
    a.vxlan?.vni === b.vxlan?.vni &&
    a.vxlan?.port === b.vxlan?.port &&
    a.vxlan?.local === b.vxlan?.local
  );
}

/** The state after these links were deleted: what hung on them is gone too. */
export function withoutLinks(
  state: NamespaceState,
  devices: ReadonlySet<string>,
  vxlan: string,
): NamespaceState {
  const uses = (value: string) => devices.has(/\bdev (\S+)/.exec(value)?.[1] ?? '');
  const ofDevice = (key: string) => devices.has(key.slice(0, key.indexOf(' ')));
  return {
    ...state,
    links: new Map([...state.links].filter(([name]) => !devices.has(name))),
    addresses: new Set([...state.addresses].filter((key) => !ofDevice(key))),
    routes: new Map([...state.routes].filter(([, value]) => !uses(value))),
    neighbours: new Map([...state.neighbours].filter(([key]) => !ofDevice(key))),
    forwarding: devices.has(vxlan) ? new Map() : state.forwarding,
  };
}

function diffTable(
  actual: TableState | undefined,
  desired: TableState | undefined,
): { change: TableChange; cut: CutFlow[] } {
  if (desired === undefined) return { change: { kind: 'none' }, cut: [] };
  if (actual === undefined || actual.fingerprint !== desired.fingerprint) {
    return { change: { kind: 'replace' }, cut: [] };
  }
  const remove: ElementChange[] = [];
  const add: ElementChange[] = [];
  for (const set of new Set([...actual.sets.keys(), ...desired.sets.keys()])) {
    const before = actual.sets.get(set) ?? new Map<string, string>();
    const now = desired.sets.get(set) ?? new Map<string, string>();
    for (const [key, value] of before) {
      if (now.get(key) !== value) remove.push({ set, key, value });
    }
    for (const [key, value] of now) {
      if (before.get(key) !== value) add.push({ set, key, value });
    }
  }
  for (const name of new Set([...actual.slots.keys(), ...desired.slots.keys()])) {
    const before = actual.slots.get(name) ?? [];
    const now = desired.slots.get(name) ?? [];
    if (before === now) continue;
    const [set, key] = pair(name);
    for (let slot = 0; slot < Math.max(before.length, now.length); slot++) {
      const [from = '', to = ''] = [before[slot], now[slot]];
      if (from === to) continue;
      const slotKey = `${key} . ${slot}`;
      if (from !== '') remove.push({ set, key: slotKey, value: from });
      if (to !== '') add.push({ set, key: slotKey, value: to });
    }
  }
  const change: TableChange =
    remove.length + add.length === 0 ? { kind: 'none' } : { kind: 'update', remove, add };
  return { change, cut: cutFlows(actual, desired) };
}

/**
 * Pairs of service and back-end that were there and are not any more, whatever the size of the slot table.
 * A published port with its first back-end is cut too (backend ''): flows that the host itself answered so
 * far would stay with it for as long as the client keeps sending.
 */
function cutFlows(actual: TableState, desired: TableState): CutFlow[] {
  const cut: CutFlow[] = [];
  const now = backendsByKey(desired, actual);
  const before = backendsByKey(actual, desired);
  for (const [key, backends] of before) {
    for (const backend of backends) {
      if (now.get(key)?.has(backend) !== true) cut.push({ key, backend });
    }
  }
  for (const key of now.keys()) {
    if (key.startsWith('udp . ') && !before.has(key) && !hasKey(actual, key)) {
      cut.push({ key, backend: '' });
    }
  }
  return cut;
}

/** Back-ends by service, of the slot tables that are not the very same in `other`. */
function backendsByKey(table: TableState, other: TableState): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  for (const [name, slots] of table.slots) {
    if (other.slots.get(name) === slots) continue;
    const [, key] = pair(name);
    const backends = found.get(key) ?? new Set<string>();
    for (const slot of slots) if (slot !== '') backends.add(slot);
    found.set(key, backends);
  }
  return found;
}

function hasKey(table: TableState, key: string): boolean {
  for (const name of table.slots.keys()) if (name.endsWith(` ${key}`)) return true;
  return false;
}

/** Words of `route replace` and `route del`. */
function routeWords(key: string, value: string): string {
  const [table, destination] = pair(key);
  const words = value === 'unreachable' ? `unreachable ${destination}` : `${destination} ${value}`;
  return table === 'main' ? words : `${words} table ${table}`;
}

/** Mark 0 needs its mask: without one the rule takes every packet. */
function ruleWords(rule: string): string {
  return rule.replace('fwmark 0 ', 'fwmark 0/0xffffffff ');
}

function addressWords(entry: string): string {
  const [device, address] = pair(entry);
  return `${address} dev ${device}`;
}

/** Splits at the first blank. */
function pair(text: string): [string, string] {
  const at = text.indexOf(' ');
  return [text.slice(0, at), text.slice(at + 1)];
}
