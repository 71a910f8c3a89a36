// asker.ts URL...: asks each address again and again, each time by a new connection, until its input ends. Then it
// prints what came of it as JSON: {asked, failed: [{url, atMs, afterMs, error}]}.
import { get } from 'node:http';

const PAUSE_MS = 10;
const PATIENCE_MS = 5_000;

type Failure = Readonly<{ url: string; atMs: number; afterMs: number; error: string }>;

const failed: Failure[] = [];
let asked = 0;
let isOver = false;
process.stdin.resume();
process.stdin.once('end', () => {
  isOver = true;
});

function ask(url: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = get(url, { agent: false }, (response) => {
      response.resume();
      response.once('error', reject);
      response.once('end', () => {
        if (response.statusCode === 200 && response.complete) resolve();
        else reject(new Error(`status ${response.statusCode}, complete: ${response.complete}`));
      });
    });
    request.setTimeout(PATIENCE_MS, () => request.destroy(new Error('no answer in time')));
    request.once('error', reject);
  });
}

async function askOn(url: string): Promise<void> {
  while (!isOver) {
    const atMs = Date.now();
    asked += 1;
    try {
      await ask(url);
    } catch (error) {
      failed.push({ url, atMs, afterMs: Date.now() - atMs, error: String(error) });
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

await Promise.all(process.argv.slice(2).map(askOn));
process.stdout.write(`${JSON.stringify({ asked, failed })}\n`);
