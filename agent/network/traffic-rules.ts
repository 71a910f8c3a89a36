import { HOST_INNER_ADDRESS } from './names.ts';

// What of our tables counts, and what holds the clients of services that have no task. Sets whose elements have
// counters: a packet is counted by looking its address up, so one rule serves all tasks, and no task costs a rule.

/** What is counted of one task; each is the name of a set of tasks' addresses. */
export const COUNTED = ['requests', 'replies', 'connections'] as const;
export type Counted = (typeof COUNTED)[number];
/** Set of what is held: addresses in a network's table, protocols and ports in the host's. */
export const KNOCKS = 'knocks';

export const COUNTED_SETS = COUNTED.map((name) => `set ${name} { type ipv4_addr; counter; }`);
export const HELD_ADDRESSES_SETS = [`set ${KNOCKS} { type ipv4_addr; counter; }`];
export const HELD_PORTS_SETS = [
  'set held { type inet_proto . inet_service; }',
  `set ${KNOCKS} { type inet_proto . inet_service; counter; }`,
];

const WRITES = 'tcp flags & (psh | syn | rst) == psh';
const BEGINS = 'tcp flags & (fin | syn | rst | ack) == syn';

/** In a chain of type nat: those see the first packet of each connection, and no other. */
export const NEW_CONNECTION = 'ip daddr @connections';

/**
 * A sender's write ends with PSH, so of a protocol of questions and answers these are the questions, and the answers.
 * After the translation to a back-end, on the back-end's own host: each is counted once, whichever way it came.
 */
export function countChain() {
  return {
    name: 'count',
    hook: 'type filter hook forward priority 10',
    rules: [
      `${WRITES} ct direction original ip daddr @requests`,
      `${WRITES} ct direction reply ip saddr @replies`,
    ],
  };
}

/**
 * For VIPs without back-ends, in a filter chain before the translation. A client whose first packet is lost sends it
 * again after a second and so on: that is what holds its connection. A packet dropped here leaves no conntrack entry
 * that would keep the next one from a back-end. What is not a beginning is refused, held or not.
 */
export function refuseOrHold(refuse: string): string[] {
  return [
    `ip daddr @empty ct state new ${BEGINS} ip daddr @${KNOCKS} drop`,
    `ip daddr @empty ct state new meta l4proto udp ip daddr @${KNOCKS} drop`,
    `ip daddr @empty ct state new goto ${refuse}`,
  ];
}

const TO_THIS_HOST = `ip daddr != ${HOST_INNER_ADDRESS} fib daddr type local`;
const HELD_PORT = 'ip protocol . th dport @held';

/** The same for published ports. */
export function holdPorts() {
  const held = `${HELD_PORT} ${TO_THIS_HOST} ct state new,untracked`;
  return {
    name: 'hold',
    hook: 'type filter hook prerouting priority -150',
    rules: [
      `${held} ${BEGINS} ip protocol . th dport @${KNOCKS} drop`,
      `${held} meta l4proto udp ip protocol . th dport @${KNOCKS} drop`,
    ],
  };
}

/**
 * What a process of this host sends to a held port comes back by `lo`, and is dropped like others' there: dropping
 * it on its way out would tell the process so. But tracked on its way out, it would leave an entry that says that
 * the host itself is the server.
 */
export function leaveHeldUntracked(): string[] {
  return [
    `${HELD_PORT} ${TO_THIS_HOST} ${BEGINS} notrack`,
    `${HELD_PORT} ${TO_THIS_HOST} meta l4proto udp notrack`,
  ];
}

/** The elements of the counted tasks' addresses. */
export function countedElements(
  links: readonly Readonly<{ address: string; counted: boolean }>[],
): Record<Counted, ReadonlyMap<string, string>> {
  const counted = new Map<string, string>();
  for (const link of links) if (link.counted) counted.set(link.address, '');
  return { requests: counted, replies: counted, connections: counted };
}
