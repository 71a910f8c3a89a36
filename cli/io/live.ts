import { setTimeout as delay } from 'node:timers/promises';
import { screenText } from '../screen-text.ts';

const EACH_MS = 1_000;
// Of a terminal that does not tell its size (or tells 0).
const ROWS = 24;
const COLUMNS = 80;
const HOME = '\x1b[H';
const TO_LINE_END = '\x1b[K';
const TO_SCREEN_END = '\x1b[J';
const CLEAR = '\x1b[2J';
const HIDE_CURSOR = '\x1b[?25l';
const SHOW_CURSOR = '\x1b[?25h';

/** Draws what `render` gives, anew each second and in place, until Ctrl-C. An error is shown, and tried again. */
export async function drawLive(render: () => Promise<string>): Promise<void> {
  const stop = new AbortController();
  const end = () => stop.abort();
  process.once('SIGINT', end);
  process.once('SIGTERM', end);
  process.stdout.write(`${HIDE_CURSOR}${CLEAR}`);
  try {
    while (!stop.signal.aborted) {
      const text = await render().catch(
        (error: unknown) => `${error instanceof Error ? error.message : error}\n`,
      );
      const room = (process.stdout.rows || ROWS) - 1;
      const drawn = screenText(text, room, process.stdout.columns || COLUMNS);
      const inPlace = drawn.replaceAll('\n', `${TO_LINE_END}\n`);
      process.stdout.write(`${HOME}${inPlace}${TO_LINE_END}\n${TO_SCREEN_END}`);
      await delay(EACH_MS, undefined, { signal: stop.signal }).catch(() => undefined);
    }
  } finally {
    process.stdout.write(SHOW_CURSOR);
    process.off('SIGINT', end);
    process.off('SIGTERM', end);
  }
}
