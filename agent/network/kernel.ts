import type { Changes, CutFlow } from './diff.ts';
import type { NamespaceState } from './state.ts';
import type { TableShape } from './tables.ts';

/** A namespace of ours; `undefined` is the host's own, which the process runs in. */
export type Namespace = string | undefined;

/** What is done to the kernel, as the data plane needs it. Every call is complete when its promise is. */
export interface Kernel {
  /** Once, before all else: forwarding on the host. */
  prepareHost(): Promise<void>;
  /** Lets our traffic pass the filters of other tools on the host; gives what stays in the way, in words. */
  passForeign(): Promise<readonly string[]>;
  /** Names of our namespaces that exist. */
  namespaces(): Promise<string[]>;
  /** Those that exist already are left as they are. */
  makeNamespaces(names: readonly string[]): Promise<void>;
  /** Their links go with them, some time later. Those that are gone are no error. */
  removeNamespaces(names: readonly string[]): Promise<void>;
  /** Kernel settings of a network's namespace or of the host's links; repeated with each `dump`. */
  tune(namespace: Namespace, links: readonly string[]): Promise<void>;
  dump(namespace: Namespace, table: TableShape): Promise<NamespaceState>;
  /** Of sets that count, in one go; cheap enough to be asked several times a second. Throws when one is not there. */
  counters(
    namespace: Namespace,
    table: string,
    sets: readonly string[],
  ): Promise<ReadonlyMap<string, Counters>>;
  /** Lines of `ip -batch` in the host's namespace. Throws when one fails. */
  makeLinks(lines: readonly string[]): Promise<void>;
  /** Deletes links by name; those that are gone are no error. */
  removeLinks(namespace: Namespace, names: readonly string[]): Promise<void>;
  /**
   * Each container's commands in its own namespace; what exists already is no error. One answer for each:
   * undefined, or what failed.
   */
  wire(containers: readonly ContainerScript[]): Promise<(string | undefined)[]>;
  /** Carries out all but `makeLinks`. Throws when a part fails: the state is unknown then. */
  apply(namespace: Namespace, changes: Changes, transactions: readonly string[]): Promise<void>;
  /** Removes the host's table, links and addresses, and what `passForeign` added. */
  removeHost(table: string): Promise<void>;
  close(): Promise<void>;
}

/** Packets by element of a set. */
export type Counters = ReadonlyMap<string, number>;

export type ContainerScript = Readonly<{ namespace: string; lines: readonly string[] }>;

/** The flows to cut, as arguments of `conntrack -D`. `keys` are VIPs or `udp . PORT`; back-ends may have ports. */
export function conntrackArguments({ key, backend }: CutFlow): string[] | undefined {
  const [protocolOrVip = '', port] = key.split(' . ');
  const address = backend.split(' . ')[0] ?? '';
  const reply = address === '' ? [] : ['--reply-src', address];
  if (port === undefined) return ['-p', 'udp', '--orig-dst', protocolOrVip, ...reply];
  if (protocolOrVip !== 'udp') return undefined;
  return ['-p', 'udp', '--orig-port-dst', port, ...reply];
}
