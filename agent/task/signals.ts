import { ShoalError } from '../../shared/errors.ts';

const NAMES =
  'HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS'.split(
    ' ',
  );
const NUMBERS = new Map(NAMES.map((name, index) => [name, index + 1]));
const RTMIN = 34; // of the C library, as Docker counts
const RTMAX = 64;

/** The number of `SIGTERM`, `term`, `15`, `RTMIN+3`. Throws ShoalError `invalid-argument` for another word. */
export function signalNumber(text: string): number {
  const word = text.toUpperCase().replace(/^SIG/, '');
  const realtime = /^RT(MIN|MAX)(?:([+-])(\d+))?$/.exec(word);
  const number = /^\d+$/.test(word)
    ? Number(word)
    : realtime !== null
      ? (realtime[1] === 'MIN' ? RTMIN : RTMAX) + Number(`${realtime[2] ?? '+'}${realtime[3] ?? 0}`)
      : NUMBERS.get(word);
  if (number === undefined || number < 1 || number > RTMAX) {
    throw new ShoalError('invalid-argument', `invalid signal: ${text}`);
  }
  return number;
}
