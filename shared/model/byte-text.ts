const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** A size for people, in the largest unit that it fills, with one digit after the point: 1.5MiB; `space` before the unit. */
export function byteText(bytes: number, space: '' | ' ' = ''): string {
  let rest = bytes;
  let unit = 0;
  while (rest >= 1024 && unit < UNITS.length - 1) {
    rest /= 1024;
    unit++;
  }
  return `${Math.round(rest * 10) / 10}${space}${UNITS[unit]}`;
}
