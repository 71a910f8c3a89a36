import { hash32 } from './hash.ts';
import {
  CONTAINER_LINK_PREFIX,
  CONTAINER_NAMESERVER,
  EGRESS_LINK_PREFIX,
  GATEWAY_LINK,
  HOST_INNER_ADDRESS,
  HOST_LINK_PREFIX,
  HOST_TABLE,
  NETWORK_TABLE,
  VXLAN_LINK,
} from './names.ts';
import { SLOT_COUNTS } from './slots.ts';
import {
  COUNTED_SETS,
  countChain,
  HELD_ADDRESSES_SETS,
  HELD_PORTS_SETS,
  holdPorts,
  leaveHeldUntracked,
  NEW_CONNECTION,
  refuseOrHold,
} from './traffic-rules.ts';

/** The fixed part of an nft table: what is in its sets and maps changes, this does not. */
export type TableShape = Readonly<{
  name: string;
  /** Declarations of sets and maps. */
  declarations: readonly string[];
  chains: readonly Readonly<{ name: string; hook?: string; rules: readonly string[] }>[];
  fingerprint: number;
}>;

const SEED = 'seed 0x5eed';
/**
 * The type of a slot's number. Not the hash itself: nft 1.0.6 reads that, but crashes when anybody lists the table.
 */
const NUMBER = 'numgen inc mod 16';
const DNAT_FLOWS = 'ct status dnat';

/** Chain, and map, of a slot table: `s64` looks into `m64`. */
export function slotChain(count: number): string {
  return `s${count}`;
}
export function slotMap(count: number): string {
  return `m${count}`;
}

/**
 * The table of a network's namespace: VIPs to back-ends, hairpin, name server; on the ingress network also the
 * marks that send an answer back through the host which the client had asked.
 *
 * The slot is a hash of the flow and not a random number: a flow whose conntrack entry was lost then mostly
 * finds its back-end again.
 */
export function networkTable(kind: {
  internal: boolean;
  ingress: boolean;
  dnsPort: number;
}): TableShape {
  const hash = (count: number) =>
    `ip daddr . jhash ip saddr . th sport . ip daddr mod ${count} ${SEED}`;
  return shape(
    NETWORK_TABLE,
    [
      ...SLOT_COUNTS.map((n) => `map ${slotMap(n)} { typeof ip daddr . ${NUMBER} : ip daddr; }`),
      'map svc { type ipv4_addr : verdict; }',
      'set empty { type ipv4_addr; }',
      'set hairpin { type ipv4_addr . ipv4_addr; }',
      'set subnets { type ipv4_addr; flags interval; }',
      'map vtep { type ether_addr : mark; }',
      ...HELD_ADDRESSES_SETS,
      ...COUNTED_SETS,
    ],
    [
      ...SLOT_COUNTS.map((n) => ({
        name: slotChain(n),
        rules: [`dnat to ${hash(n)} map @${slotMap(n)}`],
      })),
      {
        name: 'refuse',
        rules: ['meta l4proto tcp reject with tcp reset', 'reject with icmp type port-unreachable'],
      },
      ...(kind.ingress ? [apartByHost()] : []),
      {
        // Before dstnat, which cannot reject, and after conntrack, so that draining flows live on.
        name: 'guard',
        hook: 'type filter hook prerouting priority -150',
        rules: [
          ...(kind.ingress
            ? [
                // With each packet, not the first only: a client's next flow from the same port may come by another host.
                `iifname "${VXLAN_LINK}" ct direction original ip saddr != @subnets ct mark set ether saddr map @vtep`,
                `iifname "${GATEWAY_LINK}" ct direction original ct mark != 0 ct mark set 0`,
                `iifname "${CONTAINER_LINK_PREFIX}*" ct direction reply ct mark != 0 meta mark set ct mark`,
              ]
            : []),
          ...refuseOrHold('refuse'),
        ],
      },
      {
        name: 'pre',
        hook: 'type nat hook prerouting priority -100',
        rules: [
          `ip daddr ${CONTAINER_NAMESERVER} meta l4proto { tcp, udp } th dport 53 dnat to ${HOST_INNER_ADDRESS}:${kind.dnsPort}`,
          'ip daddr vmap @svc',
        ],
      },
      {
        name: 'post',
        hook: 'type nat hook postrouting priority 100',
        // A task that reaches itself through a VIP sees the VIP as its client: its own address would be answered
        // inside, and one out of the network's subnet by another interface.
        rules: [NEW_CONNECTION, `ip saddr . ip daddr @hairpin snat to ct original ip daddr`],
      },
      countChain(),
      {
        name: 'transit',
        hook: 'type filter hook forward priority 0',
        rules: kind.internal
          ? [
              `oifname "${GATEWAY_LINK}" ct state new ip daddr ${HOST_INNER_ADDRESS} ${DNAT_FLOWS} accept`,
              `oifname "${GATEWAY_LINK}" ct state new drop`,
            ]
          : [],
      },
    ],
  );
}

/**
 * Two flows of one client may differ in nothing but the host that was asked: Linux gives connections to several
 * addresses the same port, and what comes from 127.0.0.1 has the same address on all hosts. To conntrack they are
 * one flow, whose answers would all go by the host that was asked last. So each host's flows are tracked apart, in
 * their first direction only: in the other they meet, and the second gets another port towards the task.
 */
function apartByHost(): TableShape['chains'][number] {
  return {
    name: 'apart',
    hook: 'type filter hook prerouting priority -300', // before conntrack
    rules: [
      `iifname "${VXLAN_LINK}" ip saddr != @subnets ct original zone set jhash ether saddr mod 65535 ${SEED} offset 1`,
    ],
  };
}

/**
 * The table of the host's own namespace: published ports, egress, and guards. Nothing but published ports
 * and answers enters a network; internal networks never leave the host; VXLAN packets are taken from the
 * cluster's hosts only.
 */
export function hostTable(kind: { dataPathPort: number; dnsPort: number }): TableShape {
  const hash = (count: number) =>
    `ip protocol . th dport . jhash ip saddr . th sport . th dport mod ${count} ${SEED}`;
  const ours = `"${HOST_LINK_PREFIX}*"`;
  const toInner = `snat to ${HOST_INNER_ADDRESS}`;
  return shape(
    HOST_TABLE,
    [
      ...SLOT_COUNTS.map(
        (n) =>
          `map ${slotMap(n)} { typeof ip protocol . th dport . ${NUMBER} : ip daddr . th dport; }`,
      ),
      'map pub { type inet_proto . inet_service : verdict; }',
      'map ports { type inet_proto . inet_service : ipv4_addr . inet_service; }',
      'set nodes { type ipv4_addr; }',
      'set egress { type ipv4_addr; flags interval; }',
      'set loops { type ifname . ifname; }',
      'set closed { type ifname; }',
      ...HELD_PORTS_SETS,
      ...COUNTED_SETS,
    ],
    [
      ...SLOT_COUNTS.map((n) => ({
        name: slotChain(n),
        rules: [`dnat ip to ${hash(n)} map @${slotMap(n)}`],
      })),
      // Tunnelled packets are tracked inside: outside, every flow would cost one entry on each side.
      {
        name: 'rawin',
        hook: 'type filter hook prerouting priority -300',
        rules: [`udp dport ${kind.dataPathPort} notrack`],
      },
      {
        name: 'rawout',
        hook: 'type filter hook output priority -300',
        rules: [`udp dport ${kind.dataPathPort} notrack`, ...leaveHeldUntracked()],
      },
      holdPorts(),
      countChain(),
      {
        name: 'published',
        rules: ['dnat ip to ip protocol . th dport map @ports', 'ip protocol . th dport vmap @pub'],
      },
      {
        name: 'pre',
        hook: 'type nat hook prerouting priority -100',
        rules: [
          `iifname "${EGRESS_LINK_PREFIX}*" ip daddr ${CONTAINER_NAMESERVER} meta l4proto { tcp, udp } th dport 53 dnat to ${HOST_INNER_ADDRESS}:${kind.dnsPort}`,
          `ip daddr != ${HOST_INNER_ADDRESS} fib daddr type local jump published`,
        ],
      },
      {
        name: 'out',
        hook: 'type nat hook output priority -100',
        rules: [`ip daddr != ${HOST_INNER_ADDRESS} fib daddr type local jump published`],
      },
      {
        name: 'post',
        hook: 'type nat hook postrouting priority 100',
        rules: [
          NEW_CONNECTION,
          // Where the answer would not come by this host, or could not be told from the host's own.
          `oifname ${ours} ip saddr 127.0.0.0/8 ${toInner}`,
          `iifname . oifname @loops ${DNAT_FLOWS} ${toInner}`,
          `oifname @closed ${DNAT_FLOWS} ${toInner}`,
          // A UDP server that shares another network with the client would answer by that one.
          `ip protocol udp iifname ${ours} oifname ${ours} ${DNAT_FLOWS} ${toInner}`,
          `oifname != ${ours} ip saddr @egress masquerade`,
        ],
      },
      {
        name: 'transit',
        hook: 'type filter hook forward priority 0',
        rules: [
          `iifname ${ours} ct state invalid drop`,
          `oifname ${ours} ct state new ct status ! dnat drop`,
          `iifname ${ours} oifname != ${ours} ip saddr != @egress drop`,
        ],
      },
      {
        name: 'in',
        hook: 'type filter hook input priority 0',
        rules: [
          `udp dport ${kind.dataPathPort} ip saddr != @nodes drop`,
          `iifname ${ours} ct direction original ip daddr 127.0.0.0/8 drop`,
          `iifname != ${ours} iifname != "lo" ip daddr ${HOST_INNER_ADDRESS} drop`,
        ],
      },
    ],
  );
}

function shape(
  name: string,
  declarations: readonly string[],
  chains: TableShape['chains'],
): TableShape {
  const all = [...declarations, 'map gen { type mark : mark; }'];
  return {
    name,
    declarations: all,
    chains,
    fingerprint: hash32(JSON.stringify([name, all, chains])),
  };
}

/** Rules in all chains: a kernel's table with another number was changed by hand. */
export function ruleCount(table: TableShape): number {
  return table.chains.reduce((sum, { rules }) => sum + rules.length, 0);
}

/** The table without elements, in place of whatever has its name: one transaction with what follows it. */
export function tableText(table: TableShape): string {
  const chains = table.chains.map(({ name, hook, rules }) => {
    const base = hook === undefined ? [] : [`    ${hook}; policy accept;`];
    return [`  chain ${name} {`, ...base, ...rules.map((rule) => `    ${rule}`), '  }'].join('\n');
  });
  return [
    `table ip ${table.name}`,
    `delete table ip ${table.name}`,
    `table ip ${table.name} {`,
    ...table.declarations.map((text) => `  ${text}`),
    ...chains,
    '}',
    '',
  ].join('\n');
}
