import { readdir, readFile, unlink, writeFile } from 'node:fs/promises';
import type { Clock } from '../../../shared/clock.ts';
import { ShoalError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';
import type { Changes, CutFlow } from '../diff.ts';
import {
  type ContainerScript,
  type Counters,
  conntrackArguments,
  type Kernel,
  type Namespace,
} from '../kernel.ts';
import {
  GATEWAY_LINK,
  HOST_INNER_ADDRESS,
  HOST_LINK_PREFIX,
  NETWORK_NAMESPACE_PREFIX,
  TASK_NAMESPACE_PREFIX,
  VXLAN_LINK,
} from '../names.ts';
import { type Dump, parseCounters, parseHost, parseNetwork } from '../parse.ts';
import type { NamespaceState } from '../state.ts';
import { ruleCount, type TableShape } from '../tables.ts';
import { passForeignFilters, removeFromForeignFilters } from './foreign-filters.ts';
import { run } from './run.ts';
import { IpShell, type LineError, lineErrors, NftReader, NftShell, oneLine } from './shells.ts';

const NETNS_DIR = '/run/netns';
/** `nft -i` reads lines; a longer transaction has a process of its own. */
const MAX_LINE_BYTES = 60_000;
/** At least this many flow removals are worth a look at the table first. */
const CUT_ONE_BY_ONE = 4;

type Shells = { ip: IpShell; bridge: IpShell; nft: NftShell; reader: NftReader };

/** The kernel by way of iproute2, nft and conntrack. */
export class LinuxKernel implements Kernel {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #shells = new Map<Namespace, Shells>();
  #conntrackMissing = false;

  constructor(deps: { clock: Clock; log: Log }) {
    this.#clock = deps.clock;
    this.#log = deps.log;
  }

  async prepareHost(): Promise<void> {
    await writeSetting('ipv4/ip_forward', '1');
  }

  passForeign(): Promise<readonly string[]> {
    return passForeignFilters();
  }

  async namespaces(): Promise<string[]> {
    const names = await readdir(NETNS_DIR).catch(() => []);
    return names.filter(
      (name) => name.startsWith(NETWORK_NAMESPACE_PREFIX) || name.startsWith(TASK_NAMESPACE_PREFIX),
    );
  }

  async makeNamespaces(names: readonly string[]): Promise<void> {
    // A tool that still runs in a former namespace of the name would go on working there.
    await Promise.all(names.map((name) => this.#closeShells(name)));
    const lines = names.map((name) => `netns add ${name}`);
    check(lines, await this.#of(undefined).ip.run(lines), /File exists/);
  }

  async removeNamespaces(names: readonly string[]): Promise<void> {
    await Promise.all(names.map((name) => this.#closeShells(name)));
    const lines = names.map((name) => `netns del ${name}`);
    const errors = await this.#of(undefined).ip.run(lines);
    // A name without a namespace behind it, as a crash can leave it, is no mount: only its file is left.
    for (const { index } of errors)
      await unlink(`${NETNS_DIR}/${names[index]}`).catch(ignoreMissing);
  }

  async tune(namespace: Namespace, links: readonly string[]): Promise<void> {
    if (namespace === undefined) {
      for (const link of links) {
        // Published ports on 127.0.0.1: see the rules that go with it in tables.ts.
        await writeSetting(`ipv4/conf/${link}/route_localnet`, '1');
      }
      return;
    }
    const outcome = await run(
      'nsenter',
      [`--net=${NETNS_DIR}/${namespace}`, 'sh'],
      NETWORK_SETTINGS,
    );
    if (outcome.status !== 0) {
      throw new ShoalError('internal', `cannot set up namespace ${namespace}: ${outcome.stderr}`);
    }
  }

  async dump(namespace: Namespace, table: TableShape): Promise<NamespaceState> {
    const script = dumpScript(table.name);
    const outcome =
      namespace === undefined
        ? await run('sh', [], script)
        : await run('nsenter', [`--net=${NETNS_DIR}/${namespace}`, 'sh'], script);
    const parts = outcome.stdout.split('\n%%\n');
    const [links, addresses, routes, neighbours, rules, forwarding, tableText] = parts;
    if (outcome.status !== 0 || tableText === undefined) {
      throw new ShoalError(
        'internal',
        `cannot read namespace ${namespace ?? 'of the host'}: ${outcome.stderr.trim()}`,
      );
    }
    const dump: Dump = {
      links: links ?? '',
      addresses: addresses ?? '',
      routes: routes ?? '',
      neighbours: neighbours ?? '',
      rules: rules ?? '',
      forwarding: forwarding ?? '',
      table: tableText,
    };
    return namespace === undefined
      ? parseHost(dump, ruleCount(table))
      : parseNetwork(dump, ruleCount(table));
  }

  async counters(
    namespace: Namespace,
    table: string,
    sets: readonly string[],
  ): Promise<ReadonlyMap<string, Counters>> {
    const answers = await this.#of(namespace).reader.sets(table, sets);
    return new Map(sets.map((name, index) => [name, parseCounters(answers[index] ?? '')]));
  }

  async makeLinks(lines: readonly string[]): Promise<void> {
    // One that exists is of a namespace that is on its way out: the next try finds its place free.
    check(lines, await this.#of(undefined).ip.run(lines), /^$/);
  }

  async removeLinks(namespace: Namespace, names: readonly string[]): Promise<void> {
    const lines = names.map((name) => `link del ${name}`);
    check(lines, await this.#of(namespace).ip.run(lines), GONE);
  }

  async wire(containers: readonly ContainerScript[]): Promise<(string | undefined)[]> {
    if (containers.length === 0) return [];
    // One shell for all of them: a process started by it costs half of one started from here.
    const script = containers
      .map(
        ({ namespace, lines }, index) =>
          `ip -n ${namespace} -force -batch - 2>&1 <<'END'\n${lines.join('\n')}\nEND\necho "%% ${index}"\n`,
      )
      .join('');
    const { stdout } = await run('sh', [], script);
    const answers = stdout.split(/^%% \d+\n/m);
    return containers.map(({ lines }, index) => {
      const answer = answers[index];
      if (answer === undefined) return 'the shell ended early';
      const errors = lineErrors(answer, lines.length, 0);
      // Anything said that no line accounts for: the namespace itself could not be entered.
      if (errors.length === 0) return answer.trim() === '' ? undefined : answer.trim();
      const real = errors.filter(({ message }) => !/File exists/.test(message));
      return real.length === 0
        ? undefined
        : real.map(({ index: at, message }) => `${lines[at]}: ${message}`).join('; ');
    });
  }

  async apply(
    namespace: Namespace,
    changes: Changes,
    transactions: readonly string[],
  ): Promise<void> {
    const { ip, bridge } = this.#of(namespace);
    check(changes.before, await ip.run(changes.before), /File exists/);
    check(changes.forwarding, await bridge.run(changes.forwarding), /No such file/);
    for (const transaction of transactions) await this.#transact(namespace, transaction);
    await this.#cut(namespace, changes.cut);
    check(changes.after, await ip.run(changes.after), GONE);
  }

  async removeHost(table: string): Promise<void> {
    await run('nft', ['-f', '-'], `table ip ${table}\ndelete table ip ${table}\n`);
    const { stdout } = await run('ip', ['-j', 'link', 'show']);
    const links = (JSON.parse(stdout || '[]') as { ifname: string }[])
      .map(({ ifname }) => ifname)
      .filter((name) => name.startsWith(HOST_LINK_PREFIX));
    const { ip } = this.#of(undefined);
    const lines = [
      ...links.map((name) => `link del ${name}`),
      `addr del ${HOST_INNER_ADDRESS}/32 dev lo`,
    ];
    check(lines, await ip.run(lines), GONE);
    await removeFromForeignFilters();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#shells.keys()].map((namespace) => this.#closeShells(namespace)));
  }

  async #transact(namespace: Namespace, transaction: string): Promise<void> {
    // One line cannot hold a table's blocks.
    if (transaction.length <= MAX_LINE_BYTES && !transaction.includes('{\n')) {
      await this.#of(namespace).nft.apply(transaction);
      return;
    }
    const [command, args]: [string, string[]] =
      namespace === undefined
        ? ['nft', []]
        : ['nsenter', [`--net=${NETNS_DIR}/${namespace}`, 'nft']];
    const { status, stderr } = await run(command, [...args, '-f', '-'], transaction);
    if (status !== 0) throw new ShoalError('internal', `nft: ${oneLine(stderr)}`);
  }

  /**
   * Ends the UDP flows of back-ends that are out of the maps: an entry lives on as long as its client sends.
   * Without the tool they end by their time-out only, which is said once.
   */
  async #cut(namespace: Namespace, flows: readonly CutFlow[]): Promise<void> {
    let wanted = flows.flatMap((flow) => {
      const args = conntrackArguments(flow);
      return args === undefined ? [] : [args];
    });
    if (wanted.length === 0 || this.#conntrackMissing) return;
    if (wanted.length >= CUT_ONE_BY_ONE) {
      const known = await this.#conntrack(namespace, [['-L', '-p', 'udp', '-o', 'extended']]);
      wanted = wanted.filter((args) => {
        const [, , , service = '', , backend] = args;
        return (
          known.includes(args[2] === '--orig-dst' ? `dst=${service} ` : `dport=${service} `) &&
          (backend === undefined || known.includes(`src=${backend} `))
        );
      });
      if (wanted.length === 0) return;
    }
    await this.#conntrack(
      namespace,
      wanted.map((args) => ['-D', ...args]),
    );
  }

  async #conntrack(namespace: Namespace, calls: readonly string[][]): Promise<string> {
    const enter = namespace === undefined ? [] : ['nsenter', `--net=${NETNS_DIR}/${namespace}`];
    const [only, ...others] = calls;
    // One call needs no shell around it, and is what a backend that leaves one service comes to.
    const [command = '', ...args] =
      others.length === 0 ? [...enter, 'conntrack', ...(only ?? [])] : [...enter, 'sh'];
    const script = calls
      .map((words) => `conntrack ${words.join(' ')} 2>/dev/null || [ $? != 127 ] || exit 127\n`)
      .join('');
    const { status, stdout } = await run(command, args, script).catch(() => ({
      status: 127,
      stdout: '',
    }));
    if (status === 127) {
      this.#conntrackMissing = true;
      this.#log.warn(
        'conntrack is not installed: UDP clients keep a removed back-end until they pause for 2 minutes; install the package "conntrack"',
      );
    }
    return stdout;
  }

  #of(namespace: Namespace): Shells {
    const known = this.#shells.get(namespace);
    if (known !== undefined) return known;
    const shells: Shells = {
      ip: new IpShell(this.#clock, namespace, 'ip'),
      bridge: new IpShell(this.#clock, namespace, 'bridge'),
      nft: new NftShell(this.#clock, namespace),
      reader: new NftReader(this.#clock, namespace),
    };
    this.#shells.set(namespace, shells);
    return shells;
  }

  async #closeShells(namespace: Namespace): Promise<void> {
    const shells = this.#shells.get(namespace);
    if (shells === undefined) return;
    this.#shells.delete(namespace);
    await Promise.all(Object.values(shells).map((shell) => shell.close()));
  }
}

/** What the removal of something that is gone already says. */
const GONE = /No such|Cannot find device|does not exist|Cannot assign requested address/;

/**
 * Of a network's namespace. The strict source check on containers' links (they are made after this) keeps a
 * container from sending with another's address; on the others it must be off, as answers of the ingress
 * network come by another way than the route to the client.
 */
const NETWORK_SETTINGS = `set -e
ip link set lo up
cd /proc/sys/net
echo 1 > ipv4/ip_forward
echo 0 > ipv4/conf/all/rp_filter
echo 1 > ipv4/conf/default/rp_filter
echo 0 > ipv4/conf/all/send_redirects
echo 0 > ipv4/conf/default/send_redirects
[ ! -e ipv6 ] || { echo 1 > ipv6/conf/all/disable_ipv6; echo 1 > ipv6/conf/default/disable_ipv6; }
for link in ${VXLAN_LINK} ${GATEWAY_LINK}; do
  [ ! -e ipv4/conf/$link ] || { echo 0 > ipv4/conf/$link/rp_filter; echo 0 > ipv4/conf/$link/send_redirects; }
done
`;

function dumpScript(table: string): string {
  return [
    'ip -d -j link show',
    'ip -4 -j addr show',
    'ip -4 -j route show table all',
    'ip -4 -j neigh show nud permanent',
    'ip -4 -j rule show',
    'bridge -j fdb show',
    `nft -j list table ip ${table} 2>/dev/null || true`,
  ]
    .map((command) => `${command} || exit 1\n`)
    .join(`echo; echo %%\n`);
}

/** Throws for the first line that failed for another reason than a tolerated one. */
function check(lines: readonly string[], errors: readonly LineError[], tolerated: RegExp): void {
  const real = errors.filter(({ message }) => !tolerated.test(message));
  const [first] = real;
  if (first === undefined) return;
  throw new ShoalError(
    'internal',
    `"${lines[first.index]}" failed: ${first.message}${real.length > 1 ? ` (and ${real.length - 1} more)` : ''}`,
  );
}

async function writeSetting(name: string, value: string): Promise<void> {
  const path = `/proc/sys/net/${name}`;
  const now = await readFile(path, 'utf8').catch(() => undefined);
  // A link that is gone by now has no settings.
  if (now === undefined || now.trim() === value) return;
  await writeFile(path, value);
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
