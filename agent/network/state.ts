/**
 * What a network namespace holds, as far as it is ours: planned from the view, or parsed from the kernel.
 * Keys and values are the words of the commands, in one canonical form, so that two states are compared as text.
 */
export type NamespaceState = Readonly<{
  links: ReadonlyMap<string, LinkState>;
  /** `DEVICE ADDRESS/LENGTH`. */
  addresses: ReadonlySet<string>;
  /** `TABLE DESTINATION` -> `unreachable`, `dev D scope link` or `via G dev D onlink`. */
  routes: ReadonlyMap<string, string>;
  /** `DEVICE ADDRESS` -> MAC address; permanent entries only. */
  neighbours: ReadonlyMap<string, string>;
  /** MAC address -> underlay address, of the VXLAN device. */
  forwarding: ReadonlyMap<string, string>;
  /** `pref P fwmark M lookup T`, or `pref P fwmark M goto P2`. */
  rules: ReadonlySet<string>;
  /** Absent: there is no such table. */
  table: TableState | undefined;
}>;

export type LinkState = Readonly<{
  kind: 'veth' | 'vxlan';
  up: boolean;
  /** Where it is undefined in the plan it is as it was made. */
  mtu?: number | undefined;
  mac?: string | undefined;
  vxlan?: Readonly<{ vni: number; port: number; local: string }>;
}>;

export type TableState = Readonly<{
  /** Of the chains' text; another one in the kernel means that the whole table is replaced. */
  fingerprint: number;
  /** Elements of sets (value '') and maps, by the set's name, then key. */
  sets: ReadonlyMap<string, ReadonlyMap<string, string>>;
  /** `MAP KEY` -> value by slot number; '' where the kernel has none. The map's name ends in the count. */
  slots: ReadonlyMap<string, readonly string[]>;
}>;

export const EMPTY_NAMESPACE: NamespaceState = {
  links: new Map(),
  addresses: new Set(),
  routes: new Map(),
  neighbours: new Map(),
  forwarding: new Map(),
  rules: new Set(),
  table: undefined,
};
