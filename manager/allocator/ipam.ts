import { bitsOf, type Cidr, cidrContains, type IpAddress } from '../../shared/model/cidr.ts';

/** Addresses of a pool beyond this many are not given out: a network of that size has other worries. */
const MAX_ADDRESSES = 2 ** 20;

export type AddressPoolConfig = Readonly<{
  subnet: Cidr;
  /** Only addresses in here are given out; within the subnet. Default: all of it. */
  range?: Cidr | undefined;
  /** Never given out: the gateway, addresses of machines outside of the cluster. */
  reserved?: readonly bigint[];
}>;

/**
 * The addresses of one subnet. Gives out the lowest free one after the one given out last and starts
 * again at the bottom when the top is reached: an address just freed is the last to come again, so
 * that a host whose view is a moment old does not send a service's traffic to somebody else.
 *
 * One bit per address; finding a free one looks at 32 addresses at a time.
 */
export class AddressPool {
  readonly subnet: Cidr;
  readonly #first: bigint;
  readonly #count: number;
  readonly #taken: BitSet;
  #cursor = 0;

  constructor({ subnet, range, reserved = [] }: AddressPoolConfig) {
    this.subnet = subnet;
    const pool = range ?? subnet;
    const hostBits = bitsOf(pool.family) - pool.prefix;
    this.#first = pool.base;
    this.#count = hostBits >= 20 ? MAX_ADDRESSES : 2 ** hostBits;
    this.#taken = new BitSet(this.#count);
    for (const value of [...unusable(subnet), ...reserved]) this.#mark(value);
  }

  /** How many more `take` can give. */
  get free(): number {
    return this.#count - this.#taken.size;
  }

  take(): bigint | undefined {
    const offset = this.#taken.nextClear(this.#cursor);
    if (offset === undefined) return undefined;
    this.#taken.add(offset);
    this.#cursor = (offset + 1) % this.#count;
    return this.#first + BigInt(offset);
  }

  /**
   * Takes a certain address, as found on an object. False when it is not free or not in the pool.
   * What comes next follows it, so that rotation goes on where another leader left it.
   */
  claim(value: bigint): boolean {
    const offset = this.#offsetOf(value);
    if (offset === undefined || !this.#taken.add(offset)) return false;
    if (offset >= this.#cursor) this.#cursor = (offset + 1) % this.#count;
    return true;
  }

  release(value: bigint): void {
    const offset = this.#offsetOf(value);
    if (offset !== undefined) this.#taken.delete(offset);
  }

  has(value: bigint): boolean {
    const offset = this.#offsetOf(value);
    return offset !== undefined && this.#taken.has(offset);
  }

  #mark(value: bigint): void {
    const offset = this.#offsetOf(value);
    if (offset !== undefined) this.#taken.add(offset);
  }

  #offsetOf(value: bigint): number | undefined {
    const offset = value - this.#first;
    return offset >= 0n && offset < BigInt(this.#count) ? Number(offset) : undefined;
  }
}

/** The address that the subnet's hosts send to when they do not know better: its first. */
export function defaultGateway(subnet: Cidr): IpAddress {
  const offset = subnet.prefix >= bitsOf(subnet.family) - 1 ? 0n : 1n;
  return { family: subnet.family, value: subnet.base + offset };
}

/** The network's own address and IPv4's broadcast; a subnet of one or two addresses has neither. */
function unusable(subnet: Cidr): bigint[] {
  const hostBits = bitsOf(subnet.family) - subnet.prefix;
  if (hostBits <= 1) return [];
  const last = subnet.base + (1n << BigInt(hostBits)) - 1n;
  return subnet.family === 4 ? [subnet.base, last] : [subnet.base];
}

export type SubnetQuestion = Readonly<{
  pools: readonly Cidr[];
  /** Prefix length of the subnets to cut, e.g. 24. */
  prefix: number;
  taken: readonly Cidr[];
  /** Addresses that must stay reachable as they are: hosts have them. */
  avoid: readonly IpAddress[];
  /** The subnet given out last, to go on after it. */
  after?: Cidr | undefined;
}>;

/**
 * The next subnet of the pools that overlaps with nothing in use; undefined when none is left.
 * Rotates as addresses do. Looks at each subnet in use once per candidate, and past a whole subnet
 * in use at a time.
 */
export function chooseSubnet(question: SubnetQuestion): Cidr | undefined {
  const { pools, prefix, after } = question;
  const usable = pools.filter((pool) => pool.prefix <= prefix);
  const at =
    after === undefined ? -1 : usable.findIndex((pool) => cidrContains(pool, baseOf(after)));
  const start = at < 0 ? undefined : usable[at];
  if (start === undefined || after === undefined) {
    for (const pool of usable) {
      const found = firstFree(question, pool, pool.base, endOf(pool));
      if (found !== undefined) return found;
    }
    return undefined;
  }
  const later = firstFree(question, start, endOf(after), endOf(start));
  if (later !== undefined) return later;
  for (let step = 1; step < usable.length; step++) {
    const pool = usable[(at + step) % usable.length] ?? start;
    const found = firstFree(question, pool, pool.base, endOf(pool));
    if (found !== undefined) return found;
  }
  return firstFree(question, start, start.base, endOf(after));
}

function firstFree(
  { prefix, taken, avoid }: SubnetQuestion,
  pool: Cidr,
  from: bigint,
  until: bigint,
): Cidr | undefined {
  const step = 1n << BigInt(bitsOf(pool.family) - prefix);
  let base = alignUp(from, step);
  while (base < until) {
    const candidate: Cidr = { family: pool.family, prefix, base, address: base };
    const end = base + step;
    let next = base;
    for (const other of taken) {
      if (other.family === pool.family && other.base < end && endOf(other) > base) {
        next = alignUp(endOf(other), step);
        break;
      }
    }
    if (next === base) {
      if (!avoid.some((address) => cidrContains(candidate, address))) return candidate;
      next = end;
    }
    base = next;
  }
  return undefined;
}

/** One past the last address. */
function endOf(cidr: Cidr): bigint {
  return cidr.base + (1n << BigInt(bitsOf(cidr.family) - cidr.prefix));
}

function baseOf(cidr: Cidr): IpAddress {
  return { family: cidr.family, value: cidr.base };
}

function alignUp(value: bigint, step: bigint): bigint {
  return ((value + step - 1n) / step) * step;
}

/** Numbers below `limit`; grows with the highest of them, not with the limit. */
class BitSet {
  size = 0;
  readonly #limit: number;
  #words: Uint32Array;

  constructor(limit: number) {
    this.#limit = limit;
    this.#words = new Uint32Array(Math.min(8, Math.ceil(limit / 32)));
  }

  has(index: number): boolean {
    return (((this.#words[index >>> 5] ?? 0) >>> (index & 31)) & 1) === 1;
  }

  /** False when it was there before. */
  add(index: number): boolean {
    if (this.has(index)) return false;
    const word = index >>> 5;
    if (word >= this.#words.length) this.#grow(word + 1);
    this.#words[word] = (this.#words[word] ?? 0) | (1 << (index & 31));
    this.size += 1;
    return true;
  }

  delete(index: number): void {
    if (!this.has(index)) return;
    const word = index >>> 5;
    this.#words[word] = (this.#words[word] ?? 0) & ~(1 << (index & 31));
    this.size -= 1;
  }

  /** The lowest number not in the set from `from` on, else from 0 on. */
  nextClear(from: number): number | undefined {
    if (this.size >= this.#limit) return undefined;
    return this.#clearIn(from, this.#limit) ?? this.#clearIn(0, from);
  }

  #clearIn(from: number, until: number): number | undefined {
    let index = from;
    while (index < until) {
      const word = this.#words[index >>> 5];
      if (word === undefined) return index;
      const clear = ~word & (-1 << (index & 31));
      if (clear !== 0) {
        const found = (index & ~31) + (31 - Math.clz32(clear & -clear));
        return found < until ? found : undefined;
      }
      index = (index & ~31) + 32;
    }
    return undefined;
  }

  #grow(words: number): void {
    const wanted = Math.max(words, this.#words.length * 2);
    const grown = new Uint32Array(Math.min(wanted, Math.ceil(this.#limit / 32)));
    grown.set(this.#words);
    this.#words = grown;
  }
}
