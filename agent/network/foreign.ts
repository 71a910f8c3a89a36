import { HOST_INNER_ADDRESS, HOST_LINK_PREFIX, HOST_TABLE } from './names.ts';

// Filters of other tools in the host's namespace. A packet must pass the base chains of all tables: one that drops
// ends it, whatever ours say. iptables' own chains get rules that let ours pass, as Docker does it (its FORWARD has
// the policy DROP, ufw's too). Where they pass, our own table judges them. Rules of native nftables
// tables and of firewalld belong to the administrator: what is missing there is said, with the command.

/** Hooks whose filters can be in our way. */
export type ForeignHook = 'forward' | 'input';

/** A base chain of another tool. */
export type ForeignChain = Readonly<{
  family: string;
  table: string;
  name: string;
  hook: ForeignHook;
  policy: string;
}>;

/** A base chain with what stands in it; for firewalld, in its whole table. */
export type ForeignFilter = ForeignChain & Readonly<{ text: string }>;

const LINKS = `${HOST_LINK_PREFIX}*`;
const LEGACY_LINKS = `${HOST_LINK_PREFIX}+`;
const FIREWALLD_TABLE = 'firewalld';
/** Evaluated first by Docker, so that an administrator's rules there come before anybody's accept. */
const DOCKER_USER = 'DOCKER-USER';

type Match = Readonly<{ nft: string; legacy: readonly string[] }>;
const MATCHES: Readonly<Record<ForeignHook, readonly Match[]>> = {
  forward: [
    { nft: `iifname "${LINKS}"`, legacy: ['-i', LEGACY_LINKS] },
    { nft: `oifname "${LINKS}"`, legacy: ['-o', LEGACY_LINKS] },
  ],
  // Containers ask the name server of this host.
  input: [
    {
      nft: `iifname "${LINKS}" ip daddr ${HOST_INNER_ADDRESS}`,
      legacy: ['-d', `${HOST_INNER_ADDRESS}/32`, '-i', LEGACY_LINKS],
    },
  ],
};

/** The base chains in the output of `nft -j list chains` that may be in our way. */
export function foreignChains(json: string): ForeignChain[] {
  const { nftables = [] } = JSON.parse(json) as {
    nftables?: { chain?: Record<string, unknown> }[];
  };
  return nftables.flatMap(({ chain }) => {
    if (chain === undefined || chain.type !== 'filter') return [];
    const { family, table, name, hook, policy } = chain;
    if (hook !== 'forward' && hook !== 'input') return [];
    if ((family !== 'ip' && family !== 'inet') || table === HOST_TABLE) return [];
    return [{ family, table: String(table), name: String(name), hook, policy: String(policy) }];
  });
}

/** The `nft` command that shows what decides whether the chain lets us pass; undefined: it cannot be in our way. */
export function listCommand(chain: ForeignChain): string | undefined {
  const { family, table, name, policy } = chain;
  if (table === FIREWALLD_TABLE) return `list table ${family} ${table}`;
  if (!isIptables(chain) && policy !== 'drop') return undefined;
  return `list chain ${family} ${table} ${name}`;
}

/** `nft` commands for the chains of iptables that do not let us pass; their texts were listed with handles. */
export function passCommands(filters: readonly ForeignFilter[]): string[] {
  return filters.flatMap((filter) => {
    if (!isIptables(filter) || !isInTheWay(filter)) return [];
    const lines = filter.text.split('\n').map((line) => line.trim());
    const missing = MATCHES[filter.hook].filter(({ nft }) => handleOf(lines, nft) === undefined);
    const after = lines.find((line) => line.includes(`jump ${DOCKER_USER} `));
    const handle = after === undefined ? undefined : /# handle (\d+)$/.exec(after)?.[1];
    const where = handle === undefined ? '' : ` handle ${handle}`;
    const verb = handle === undefined ? 'insert' : 'add';
    return missing.map(
      ({ nft }) => `${verb} rule ip ${filter.table} ${filter.name}${where} ${nft} counter accept`,
    );
  });
}

/** `nft` commands that take the rules away again. */
export function unpassCommands(filters: readonly ForeignFilter[]): string[] {
  return filters.filter(isIptables).flatMap((filter) => {
    const lines = filter.text.split('\n').map((line) => line.trim());
    return MATCHES[filter.hook].flatMap(({ nft }) => {
      const handle = handleOf(lines, nft);
      return handle === undefined
        ? []
        : [`delete rule ip ${filter.table} ${filter.name} handle ${handle}`];
    });
  });
}

/** Arguments of `iptables-legacy` for each rule that is missing, from the output of its `-S`. */
export function legacyPassCommands(rules: string): string[][] {
  const lines = rules.split('\n').map((line) => line.trim());
  return (['forward', 'input'] as const).flatMap((hook) => {
    const chain = hook.toUpperCase();
    const own = lines.filter((line) => line.startsWith(`-A ${chain} `));
    const drops = own.some((line) => / -j (DROP|REJECT)\b/.test(line));
    if (!drops && !lines.includes(`-P ${chain} DROP`)) return [];
    const place = own.findIndex((line) => line.endsWith(`-j ${DOCKER_USER}`)) + 2;
    const first = place === 1 ? '1' : String(place);
    return MATCHES[hook].flatMap(({ legacy }) => {
      const rule = [...legacy, '-j', 'ACCEPT'];
      return own.includes(`-A ${chain} ${rule.join(' ')}`) ? [] : [['-I', chain, first, ...rule]];
    });
  });
}

/** Arguments of `iptables-legacy` that take the rules away again. */
export function legacyUnpassCommands(rules: string): string[][] {
  const lines = new Set(rules.split('\n').map((line) => line.trim()));
  return (['forward', 'input'] as const).flatMap((hook) => {
    const chain = hook.toUpperCase();
    return MATCHES[hook].flatMap(({ legacy }) => {
      const rule = [...legacy, '-j', 'ACCEPT'];
      return lines.has(`-A ${chain} ${rule.join(' ')}`) ? [['-D', chain, ...rule]] : [];
    });
  });
}

/** What the administrator has to know of chains that we leave alone; one sentence for each. */
export function foreignWarnings(filters: readonly ForeignFilter[]): string[] {
  const warnings = filters.flatMap((filter) => {
    const { family, table, name, hook, text } = filter;
    // Whoever names our links there has thought of them.
    if (isIptables(filter) || text.includes(`"${HOST_LINK_PREFIX}`)) return [];
    if (table === FIREWALLD_TABLE) {
      return [
        `firewalld may reject traffic of services: firewall-cmd --permanent --zone=trusted --add-interface=${LEGACY_LINKS} && firewall-cmd --reload`,
      ];
    }
    const what =
      hook === 'forward'
        ? 'published ports and the way out of containers do not work'
        : 'containers get no answers from their name server';
    const commands = MATCHES[hook].map(
      ({ nft }) => `nft insert rule ${family} ${table} ${name} ${nft} accept`,
    );
    return [
      `chain ${name} of table ${family} ${table} drops traffic of services (${what}): ${commands.join('; ')}`,
    ];
  });
  return [...new Set(warnings)];
}

function isIptables({ family, table, name, hook }: ForeignChain): boolean {
  return family === 'ip' && table === 'filter' && name === hook.toUpperCase();
}

function isInTheWay({ policy, text }: ForeignFilter): boolean {
  return policy === 'drop' || /\b(drop|reject|REJECT)\b/.test(text.replace(/policy \w+;/, ''));
}

/** Of the rule as we write it; iptables prints it with other blanks. */
function handleOf(lines: readonly string[], match: string): string | undefined {
  for (const line of lines) {
    const rule = line.replaceAll(/\s+/g, ' ').replace(/counter packets \d+ bytes \d+ /, '');
    if (rule.startsWith(`${match} accept # handle `)) return rule.split(' ').at(-1);
  }
  return undefined;
}
