import type { Changes } from '../../../../agent/network/diff.ts';
import type {
  ContainerScript,
  Counters,
  Kernel,
  Namespace,
} from '../../../../agent/network/kernel.ts';
import { SLOT_COUNTS } from '../../../../agent/network/slots.ts';
import type { LinkState, NamespaceState } from '../../../../agent/network/state.ts';
import type { TableShape } from '../../../../agent/network/tables.ts';

/** A namespace that understands the commands we send, and fails where the kernel would. */
export class ModelNamespace {
  links = new Map<string, LinkState>();
  addresses = new Set<string>();
  routes = new Map<string, string>();
  neighbours = new Map<string, string>();
  forwarding = new Map<string, string>();
  rules = new Set<string>();
  sets: Map<string, Map<string, string>> | undefined;
  /** `SET ELEMENT` -> packets that it counted. */
  packets = new Map<string, number>();

  static from(state: NamespaceState): ModelNamespace {
    const model = new ModelNamespace();
    model.links = new Map(state.links);
    model.addresses = new Set(state.addresses);
    model.routes = new Map(state.routes);
    model.neighbours = new Map(state.neighbours);
    model.forwarding = new Map(state.forwarding);
    model.rules = new Set(state.rules);
    if (state.table !== undefined) {
      model.sets = new Map([...state.table.sets].map(([name, set]) => [name, new Map(set)]));
      model.sets.set(
        'gen',
        new Map([
          ['0', String(state.table.fingerprint)],
          ['1', '0'],
          ['2', '0'],
        ]),
      );
      for (const count of SLOT_COUNTS) model.sets.set(`m${count}`, new Map());
      for (const [name, slots] of state.table.slots) {
        const [map = '', key = ''] = split(name);
        const elements = model.sets.get(map) ?? new Map<string, string>();
        for (const [slot, value] of slots.entries()) {
          if (value !== '') elements.set(`${key} . ${slot}`, value);
        }
        model.sets.set(map, elements);
      }
    }
    return model;
  }

  state(): NamespaceState {
    const sets = new Map<string, Map<string, string>>();
    const slots = new Map<string, string[]>();
    for (const [name, elements] of this.sets ?? []) {
      const size = /^m(\d+)$/.exec(name)?.[1];
      if (size === undefined) {
        if (name !== 'gen') sets.set(name, new Map(elements));
        continue;
      }
      for (const [key, value] of elements) {
        const at = key.lastIndexOf(' . ');
        const slotKey = `${name} ${key.slice(0, at)}`;
        const values = slots.get(slotKey) ?? new Array<string>(Number(size)).fill('');
        values[Number(key.slice(at + 3))] = value;
        slots.set(slotKey, values);
      }
    }
    const fingerprint = Number(this.sets?.get('gen')?.get('0') ?? Number.NaN);
    return {
      links: new Map(this.links),
      addresses: new Set(this.addresses),
      routes: new Map(this.routes),
      neighbours: new Map(this.neighbours),
      forwarding: new Map(this.forwarding),
      rules: new Set(this.rules),
      table: this.sets === undefined ? undefined : { fingerprint, sets, slots },
    };
  }

  ip(line: string): void {
    const words = line.split(' ');
    const [object = '', verb = '', ...rest] = words;
    switch (`${object} ${verb}`) {
      case 'link set':
        this.#setLink(rest);
        break;
      case 'link del':
        this.dropLink(rest[0] ?? '');
        break;
      case 'addr replace':
        this.#device(rest[2]);
        this.addresses.add(`${rest[2]} ${rest[0]}`);
        break;
      case 'addr del':
        need(this.addresses.delete(`${rest[2]} ${rest[0]}`), line);
        break;
      case 'neigh replace':
        this.#device(rest[4]);
        this.neighbours.set(`${rest[4]} ${rest[0]}`, rest[2] ?? '');
        break;
      case 'neigh del':
        need(this.neighbours.delete(`${rest[2]} ${rest[0]}`), line);
        break;
      case 'route replace': {
        const { key, value } = route(rest);
        const device = /\bdev (\S+)/.exec(value)?.[1];
        if (device !== undefined) this.#device(device, true);
        this.routes.set(key, value);
        break;
      }
      case 'route del':
        need(this.routes.delete(route(rest).key), line);
        break;
      case 'rule add':
        need(!this.rules.has(rule(rest)) && this.rules.add(rule(rest)) !== undefined, line);
        break;
      case 'rule del':
        need(this.rules.delete(rule(rest)), line);
        break;
      default:
        throw new Error(`unknown command: ${line}`);
    }
  }

  bridge(line: string): void {
    const [, verb, mac = '', , device, , address = ''] = line.split(' ');
    this.#device(device);
    if (verb === 'replace') this.forwarding.set(mac, address);
    else need(this.forwarding.delete(mac), line);
  }

  nft(transaction: string): void {
    // All or nothing.
    const sets = new Map([...(this.sets ?? [])].map(([name, set]) => [name, new Map(set)]));
    let exists = this.sets !== undefined;
    if (transaction.startsWith('table ip')) {
      sets.clear();
      exists = true;
      for (const [, name = ''] of transaction.matchAll(/^ {2}(?:map|set) (\S+) \{/gm)) {
        sets.set(name, new Map());
      }
    }
    need(exists, 'no table');
    for (const [, verb, name = '', text = ''] of transaction.matchAll(
      /^(add|delete) element ip \S+ (\S+) \{ (.*) \}$/gm,
    )) {
      const set = sets.get(name);
      if (set === undefined) throw new Error(`no set ${name}`);
      for (const element of text.split(', ')) {
        const [key = '', value = ''] = element.split(' : ');
        if (verb === 'delete') need(set.delete(key), `${name}: no ${key}`);
        else if (set.has(key)) need(set.get(key) === value, `${name}: ${key} exists`);
        else set.set(key, value);
      }
    }
    this.sets = sets;
  }

  dropLink(name: string): void {
    need(this.links.delete(name), `link ${name}`);
    this.#flush(name);
    if (name === 'vx') this.forwarding.clear();
    this.addresses = new Set([...this.addresses].filter((key) => split(key)[0] !== name));
  }

  #flush(device: string): void {
    for (const [key, value] of this.routes) {
      if (value.includes(`dev ${device} `) || value.endsWith(`dev ${device}`))
        this.routes.delete(key);
    }
    for (const key of this.neighbours.keys()) {
      if (split(key)[0] === device) this.neighbours.delete(key);
    }
  }

  #setLink([name = '', ...words]: string[]): void {
    const link = this.links.get(name);
    if (link === undefined) throw new Error(`Cannot find device ${name}`);
    let next = link;
    for (let i = 0; i < words.length; i++) {
      if (words[i] === 'up') next = { ...next, up: true };
      else if (words[i] === 'down') {
        next = { ...next, up: false };
        this.#flush(name);
      } else if (words[i] === 'mtu') next = { ...next, mtu: Number(words[++i]) };
      else if (words[i] === 'address') next = { ...next, mac: words[++i] };
      else throw new Error(`unknown word ${words[i]}`);
    }
    this.links.set(name, next);
  }

  #device(name = '', up = false): void {
    if (name === 'lo') return;
    const link = this.links.get(name);
    need(link !== undefined, `Cannot find device ${name}`);
    if (up) need(link?.up === true, `device ${name} is down`);
  }
}

/** Fails in the way of a kernel, when asked to. */
export class ModelKernel implements Kernel {
  readonly spaces = new Map<Namespace, ModelNamespace>([[undefined, new ModelNamespace()]]);
  readonly calls: string[] = [];
  /** Next calls of this name throw. */
  readonly failing = new Map<string, number>();
  /** What stands in our way. */
  foreign: readonly string[] = [];

  space(name: Namespace): ModelNamespace {
    const space = this.spaces.get(name);
    if (space === undefined) throw new Error(`no namespace ${name}`);
    return space;
  }

  async passForeign(): Promise<readonly string[]> {
    this.#note('passForeign');
    if (this.#fails('passForeign')) throw new Error('no nft');
    return this.foreign;
  }

  async prepareHost(): Promise<void> {
    this.#note('prepareHost');
  }

  async namespaces(): Promise<string[]> {
    return [...this.spaces.keys()].filter((name) => name !== undefined);
  }

  async makeNamespaces(names: readonly string[]): Promise<void> {
    for (const name of names) {
      if (!this.spaces.has(name)) this.spaces.set(name, new ModelNamespace());
    }
  }

  async removeNamespaces(names: readonly string[]): Promise<void> {
    for (const name of names) this.spaces.delete(name);
  }

  async tune(): Promise<void> {
    this.#note('tune');
  }

  async dump(name: Namespace, _table: TableShape): Promise<NamespaceState> {
    this.#note(`dump ${name ?? 'host'}`);
    return this.space(name).state();
  }

  async counters(
    name: Namespace,
    _table: string,
    sets: readonly string[],
  ): Promise<ReadonlyMap<string, Counters>> {
    this.#note(`counters ${name ?? 'host'}`);
    if (this.#fails('counters')) throw new Error('refused by the test');
    const space = this.space(name);
    return new Map(
      sets.map((set) => {
        const elements = space.sets?.get(set);
        if (elements === undefined) throw new Error(`no set ${set}`);
        const packets = (key: string) => space.packets.get(`${set} ${key}`) ?? 0;
        return [set, new Map([...elements.keys()].map((key) => [key, packets(key)]))];
      }),
    );
  }

  async makeLinks(lines: readonly string[]): Promise<void> {
    for (const line of lines) {
      const words = line.split(' ');
      const after = (word: string) => words[words.indexOf(word) + 1] ?? '';
      const common = { up: false, mtu: Number(after('mtu')), mac: after('address') };
      if (words.includes('vxlan')) {
        const vxlan = {
          vni: Number(after('id')),
          port: Number(after('dstport')),
          local: after('local'),
        };
        this.space(after('netns')).links.set('vx', { kind: 'vxlan', ...common, vxlan });
      } else {
        const [first, second] = line.split(' type veth peer name ');
        const peer = second?.split(' ') ?? [];
        this.space(undefined).links.set(first?.split(' ')[2] ?? '', { kind: 'veth', ...common });
        const namespace = peer[peer.indexOf('netns') + 1];
        this.space(namespace).links.set(peer[0] ?? '', {
          kind: 'veth',
          up: false,
          mac: peer[peer.indexOf('address') + 1],
          mtu: Number(peer[peer.indexOf('mtu') + 1]),
        });
      }
    }
  }

  async removeLinks(name: Namespace, names: readonly string[]): Promise<void> {
    for (const link of names) if (this.space(name).links.has(link)) this.space(name).dropLink(link);
  }

  async wire(containers: readonly ContainerScript[]): Promise<(string | undefined)[]> {
    this.#note(`wire ${containers.length}`);
    if (this.#fails('wire')) return containers.map(() => 'refused by the test');
    for (const { namespace, lines } of containers) {
      need(this.spaces.has(namespace), `no namespace ${namespace}`);
      for (const line of lines) {
        const match = /^link add (\S+) .* peer name (\S+) .* netns (\S+)$/.exec(line);
        if (match === null) continue;
        const [, , peer = '', place = ''] = match;
        const space = this.space(/^\d+$/.test(place) ? undefined : place);
        if (!space.links.has(peer)) space.links.set(peer, { kind: 'veth', up: false });
      }
    }
    return containers.map(() => undefined);
  }

  async apply(name: Namespace, changes: Changes, transactions: readonly string[]): Promise<void> {
    this.#note(`apply ${name ?? 'host'}`);
    if (this.#fails('apply')) throw new Error('refused by the test');
    const space = this.space(name);
    for (const line of changes.before) space.ip(line);
    for (const line of changes.forwarding) space.bridge(line);
    for (const transaction of transactions) space.nft(transaction);
    for (const { key, backend } of changes.cut) this.#note(`cut ${key} ${backend}`);
    for (const line of changes.after) space.ip(line);
  }

  async removeHost(): Promise<void> {
    this.spaces.set(undefined, new ModelNamespace());
  }

  async close(): Promise<void> {
    this.#note('close');
  }

  #note(call: string): void {
    this.calls.push(call);
  }

  #fails(call: string): boolean {
    const left = this.failing.get(call) ?? 0;
    this.failing.set(call, left - 1);
    return left > 0;
  }
}

function need(condition: boolean, what: string): void {
  if (!condition) throw new Error(`failed: ${what}`);
}

function rule(words: readonly string[]): string {
  return words.join(' ').replace('fwmark 0/0xffffffff', 'fwmark 0');
}

function route(words: readonly string[]): { key: string; value: string } {
  let rest = [...words];
  let table = 'main';
  if (rest.at(-2) === 'table') {
    table = rest.at(-1) ?? '';
    rest = rest.slice(0, -2);
  }
  if (rest[0] === 'unreachable') return { key: `${table} ${rest[1]}`, value: 'unreachable' };
  return { key: `${table} ${rest[0]}`, value: rest.slice(1).join(' ') };
}

function split(text: string): [string, string] {
  const at = text.indexOf(' ');
  return [text.slice(0, at), text.slice(at + 1)];
}
