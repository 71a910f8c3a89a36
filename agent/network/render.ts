import type { ElementChange, TableChange } from './diff.ts';
import type { LinkState, TableState } from './state.ts';
import { type TableShape, tableText } from './tables.ts';

/** Elements in one transaction at most: a long commit holds up everybody's netlink (0.1 s for 10,000). */
const ELEMENTS_PER_TRANSACTION = 5_000;

/**
 * The nft transactions that carry out `change`, in order, each to be applied whole. The last one also records
 * the revision. Empty when there is nothing to do.
 */
export function tableTransactions(
  shape: TableShape,
  desired: TableState,
  change: TableChange,
  revision: number,
): string[] {
  switch (change.kind) {
    case 'none':
      return [];
    case 'replace':
      return replacement(shape, desired, revision);
    case 'update': {
      const lines = [
        ...elements('delete', shape.name, change.remove),
        ...elements('add', shape.name, change.add),
        // Both old and new are named by key alone in a deletion, whatever they hold.
        ...revisionLines(shape.name, revision),
      ];
      return [lines.join('\n')];
    }
  }
}

function replacement(shape: TableShape, desired: TableState, revision: number): string[] {
  const slots: ElementChange[] = [];
  for (const [name, values] of desired.slots) {
    const at = name.indexOf(' ');
    const [set, key] = [name.slice(0, at), name.slice(at + 1)];
    for (const [slot, value] of values.entries()) {
      slots.push({ set, key: `${key} . ${slot}`, value });
    }
  }
  const others: ElementChange[] = [];
  for (const [set, entries] of desired.sets) {
    for (const [key, value] of entries) others.push({ set, key, value });
  }
  const gen = (key: number, value: number): ElementChange => ({
    set: 'gen',
    key: String(key),
    value: String(value),
  });
  const marks = [
    gen(0, shape.fingerprint),
    gen(1, revision % 2 ** 32),
    gen(2, Math.floor(revision / 2 ** 32)),
  ];
  if (slots.length + others.length <= ELEMENTS_PER_TRANSACTION) {
    return [
      [tableText(shape), ...elements('add', shape.name, [...slots, ...others, ...marks])].join(
        '\n',
      ),
    ];
  }
  // Too much for one: the slots before the verdicts that lead to them, the fingerprint last, so that a
  // table which was interrupted half way is seen as another one.
  const chunks: string[] = [];
  for (let i = 0; i < slots.length; i += ELEMENTS_PER_TRANSACTION) {
    chunks.push(
      elements('add', shape.name, slots.slice(i, i + ELEMENTS_PER_TRANSACTION)).join('\n'),
    );
  }
  return [
    tableText(shape),
    ...chunks,
    elements('add', shape.name, [...others, ...marks]).join('\n'),
  ];
}

/**
 * The revision, by elements that are replaced: both deletions succeed because a table of ours always has them.
 * Marks are 32 bits wide, a revision may have 53.
 */
function revisionLines(table: string, revision: number): string[] {
  const [low, high] = [revision % 2 ** 32, Math.floor(revision / 2 ** 32)];
  return [
    `delete element ip ${table} gen { 1, 2 }`,
    `add element ip ${table} gen { 1 : ${low}, 2 : ${high} }`,
  ];
}

function elements(
  verb: 'add' | 'delete',
  table: string,
  changes: readonly ElementChange[],
): string[] {
  const bySet = new Map<string, string[]>();
  for (const { set, key, value } of changes) {
    const text = value === '' || verb === 'delete' ? key : `${key} : ${value}`;
    const list = bySet.get(set);
    if (list === undefined) bySet.set(set, [text]);
    else list.push(text);
  }
  return [...bySet].map(
    ([set, list]) => `${verb} element ip ${table} ${set} { ${list.join(', ')} }`,
  );
}

/** `ip` command, run in the host's namespace, that makes a network's VXLAN device: its UDP socket stays there. */
export function makeVxlan(name: string, namespace: string, link: LinkState): string {
  const { vni = 0, port = 0, local = '' } = link.vxlan ?? {};
  return `link add ${name} netns ${namespace} address ${link.mac} mtu ${link.mtu} type vxlan id ${vni} dstport ${port} local ${local} nolearning`;
}

/** `ip` command, run in the host's namespace, that makes the link between host and network. */
export function makeGateway(
  host: Readonly<{ name: string; link: LinkState }>,
  network: Readonly<{ name: string; namespace: string; link: LinkState }>,
): string {
  return `link add ${host.name} address ${host.link.mac} mtu ${host.link.mtu} type veth peer name ${network.name} address ${network.link.mac} mtu ${network.link.mtu} netns ${network.namespace}`;
}
