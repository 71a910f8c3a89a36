/** An IPv4 or IPv6 address as a number of 32 or 128 bits. */
export type IpAddress = Readonly<{ family: 4 | 6; value: bigint }>;
/** A subnet: `address` is the one that was written, `base` the same with the host bits cleared. */
export type Cidr = Readonly<{
  family: 4 | 6;
  prefix: number;
  base: bigint;
  address: bigint;
}>;

export function bitsOf(family: 4 | 6): number {
  return family === 4 ? 32 : 128;
}

/** Reads 10.1.2.3 or fd00::1 (an IPv4 tail is understood, a zone is not); undefined when it is neither. */
export function parseIp(text: string): IpAddress | undefined {
  if (text.includes(':')) return parseIpv6(text);
  const value = parseIpv4(text);
  return value === undefined ? undefined : { family: 4, value };
}

/** Reads 10.1.0.0/24 or fd00::/64; undefined when it is neither. */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf('/');
  if (slash < 0) return undefined;
  const ip = parseIp(text.slice(0, slash));
  const length = text.slice(slash + 1);
  if (ip === undefined || !/^(0|[1-9]\d{0,2})$/.test(length)) return undefined;
  const prefix = Number(length);
  if (prefix > bitsOf(ip.family)) return undefined;
  return { family: ip.family, prefix, base: maskBase(ip, prefix), address: ip.value };
}

/** `10.1.2.3` of `10.1.2.3/24`. */
export function withoutPrefix(cidr: string): string {
  const slash = cidr.indexOf('/');
  return slash < 0 ? cidr : cidr.slice(0, slash);
}

export function cidrContains(cidr: Cidr, ip: IpAddress): boolean {
  return cidr.family === ip.family && maskBase(ip, cidr.prefix) === cidr.base;
}

export function cidrsOverlap(a: Cidr, b: Cidr): boolean {
  const [wide, narrow] = a.prefix <= b.prefix ? [a, b] : [b, a];
  return cidrContains(wide, { family: narrow.family, value: narrow.base });
}

/** The shortest usual form: dotted, or RFC 5952 for IPv6. */
export function formatIp({ family, value }: IpAddress): string {
  return family === 4 ? formatIpv4(value) : formatIpv6(value);
}

/** `10.1.0.0/24`: the subnet itself, without the host bits it may have been written with. */
export function formatCidr(cidr: Pick<Cidr, 'family' | 'prefix' | 'base'>): string {
  return `${formatIp({ family: cidr.family, value: cidr.base })}/${cidr.prefix}`;
}

function maskBase(ip: IpAddress, prefix: number): bigint {
  const hostBits = BigInt(bitsOf(ip.family) - prefix);
  return (ip.value >> hostBits) << hostBits;
}

function parseIpv4(text: string): bigint | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  let value = 0n;
  for (const part of parts) {
    // No leading zeros: some readers take them for octal, so one text would name two addresses.
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return undefined;
    value = (value << 8n) | BigInt(part);
  }
  return value;
}

function parseIpv6(text: string): IpAddress | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = groupsOf(halves[0] ?? '', halves.length === 1);
  const tail = groupsOf(halves[1] ?? '', true);
  if (head === undefined || tail === undefined) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
  const zeros = new Array<bigint>(missing).fill(0n);
  const value = [...head, ...zeros, ...tail].reduce((sum, group) => (sum << 16n) | group, 0n);
  return { family: 6, value };
}

/** The 16-bit groups of one side of `::`; an IPv4 address may end the whole address. */
function groupsOf(side: string, endsAddress: boolean): bigint[] | undefined {
  if (side === '') return [];
  const groups: bigint[] = [];
  const parts = side.split(':');
  for (const [i, part] of parts.entries()) {
    if (endsAddress && i === parts.length - 1 && part.includes('.')) {
      const ipv4 = parseIpv4(part);
      if (ipv4 === undefined) return undefined;
      groups.push(ipv4 >> 16n, ipv4 & 0xffffn);
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) {
      groups.push(BigInt(`0x${part}`));
    } else {
      return undefined;
    }
  }
  return groups;
}

function formatIpv4(value: bigint): string {
  return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 0xffn)).join('.');
}

function formatIpv6(value: bigint): string {
  const groups = Array.from({ length: 8 }, (_, i) =>
    ((value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16),
  );
  let best = { start: -1, length: 1 }; // a single zero group is written out
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (groups[start + length] === '0') length += 1;
    if (length > best.length) best = { start, length };
  }
  if (best.start < 0) return groups.join(':');
  const head = groups.slice(0, best.start).join(':');
  return `${head}::${groups.slice(best.start + best.length).join(':')}`;
}
