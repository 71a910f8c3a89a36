const NAMES =
  'HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS'.split(
    ' ',
  );
const OTHER_NAMES = [
  ['IOT', 6],
  ['CLD', 17],
  ['POLL', 29],
] as const;
const NUMBERS = new Map<string, number>([
  ...NAMES.map((name, index) => [name, index + 1] as const),
  ...OTHER_NAMES,
]);
export const SIGHUP = 1;
export const SIGKILL = 9;
export const SIGTERM = 15;
const RTMIN = 34; // of the C library, as Docker counts
const RTMAX = 64;

/** The number of `SIGTERM`, `term`, `15`, `RTMIN+3` on Linux; undefined for another word. */
export function signalNumber(text: string): number | undefined {
  const word = text.toUpperCase().replace(/^SIG/, '');
  const realtime = /^RT(?:(MIN)(?:\+(\d{1,2}))?|MAX(?:-(\d{1,2}))?)$/.exec(word);
  const [, min, up = 0, down = 0] = realtime ?? [];
  if (realtime !== null) {
    const number = min === undefined ? RTMAX - Number(down) : RTMIN + Number(up);
    return number >= RTMIN && number <= RTMAX ? number : undefined;
  }
  if (!/^\d{1,2}$/.test(word)) return NUMBERS.get(word);
  const number = Number(word);
  return number >= 1 && number <= RTMAX ? number : undefined;
}
