/** Durations and sizes as `docker ps` and progress bars word them. */

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24;

/** "3 seconds", "About a minute", "2 weeks": one unit, rounded down (hours: to the nearest). */
export function humanDuration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 1) return 'Less than a second';
  if (seconds === 1) return '1 second';
  if (seconds < MINUTE) return `${seconds} seconds`;
  const minutes = Math.floor(seconds / MINUTE);
  if (minutes === 1) return 'About a minute';
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.round(seconds / HOUR);
  if (hours === 1) return 'About an hour';
  if (hours < 2 * DAY) return `${hours} hours`;
  if (hours < 14 * DAY) return `${Math.floor(hours / DAY)} days`;
  if (hours < 60 * DAY) return `${Math.floor(hours / DAY / 7)} weeks`;
  if (hours < 2 * 365 * DAY) return `${Math.floor(hours / DAY / 30)} months`;
  return `${Math.floor(hours / DAY / 365)} years`;
}

const SIZES = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** "1.5MB": three significant digits, powers of 1000. */
export function humanSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < SIZES.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${Number.parseFloat(value.toPrecision(4))}${SIZES[unit]}`;
}

/** `[=====>     ]  1.5MB/3MB`, 50 marks wide. */
export function progressBar(current: number, total: number): string {
  if (total <= 0) return humanSize(current).padStart(8);
  const marks = Math.min(50, Math.floor((current / total) * 50));
  const bar = marks === 50 ? '='.repeat(50) : `${'='.repeat(marks)}>`;
  return `[${bar.padEnd(51)}]  ${humanSize(current)}/${humanSize(total)}`;
}
