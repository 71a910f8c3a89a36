// Single numbers out of the kernel's text files. Each is read once a second for each container, so nothing is
// split and no table is made of what is not asked for.

const ZERO = 48;

/** The number of a file that has no other; undefined when it has none. */
export function wholeNumber(text: string): number | undefined {
  return numberAt(text, 0);
}

/** The number after `name ` at the beginning of a line, as in cpu.stat and memory.stat. */
export function keyedNumber(text: string, name: string): number | undefined {
  const key = `${name} `;
  let at = text.startsWith(key) ? 0 : text.indexOf(`\n${key}`);
  if (at < 0) return undefined;
  if (at > 0) at += 1;
  return numberAt(text, at + key.length);
}

/** Bytes received and sent, of /proc/PID/net/dev, without `lo`. Undefined for a text that is none. */
export function interfaceBytes(text: string): number | undefined {
  // Two lines of headings, then one for each interface: `name: bytes packets ... (8 columns) bytes ...`.
  let line = text.indexOf('\n', text.indexOf('\n') + 1) + 1;
  if (line <= 1) return undefined;
  let sum = 0;
  while (line < text.length) {
    const end = text.indexOf('\n', line);
    const next = end < 0 ? text.length : end;
    const colon = text.indexOf(':', line);
    if (colon > 0 && colon < next && text.slice(line, colon).trim() !== 'lo') {
      const columns = text
        .slice(colon + 1, next)
        .trim()
        .split(/\s+/);
      sum += Number(columns[0] ?? 0) + Number(columns[8] ?? 0);
    }
    line = next + 1;
  }
  return Number.isFinite(sum) ? sum : undefined;
}

function numberAt(text: string, from: number): number | undefined {
  let value = 0;
  let at = from;
  for (; at < text.length; at++) {
    const digit = text.charCodeAt(at) - ZERO;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
  }
  return at === from ? undefined : value;
}
