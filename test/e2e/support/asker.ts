// asker.ts URL...: asks each address again and again, each time by a new connection, until its input ends. It prints a
// line once its first request is over, and at its end what came of all as JSON:
// {asked, failed: [{url, atMs, afterMs, error, reached, port}]}.
import { get } from 'node:http';

const PAUSE_MS = 10;
const PATIENCE_MS = 10_000;

/** How far a request got: what an answer that does not come was lost by. */
type Trace = { reached: 'connecting' | 'connected' | 'head' | 'body'; port: number | undefined };
type Failure = Readonly<{ url: string; atMs: number; afterMs: number; error: string }> & Trace;

const failed: Failure[] = [];
let asked = 0;
let hasBegun = false;
let isOver = false;
process.stdin.resume();
process.stdin.once('end', () => {
  isOver = true;
});

function ask(url: string, trace: Trace): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = get(url, { agent: false }, (response) => {
      trace.reached = 'head';
      response.on('data', () => {
        trace.reached = 'body';
      });
      response.once('error', reject);
      response.once('end', () => {
        if (response.statusCode === 200 && response.complete) resolve();
        else reject(new Error(`status ${response.statusCode}, complete: ${response.complete}`));
      });
    });
    request.once('socket', (socket) =>
      socket.once('connect', () => {
        trace.reached = 'connected';
        trace.port = socket.localPort;
      }),
    );
    request.setTimeout(PATIENCE_MS, () => request.destroy(new Error('no answer in time')));
    request.once('error', reject);
  });
}

async function askOn(url: string): Promise<void> {
  while (!isOver) {
    const atMs = Date.now();
    const trace: Trace = { reached: 'connecting', port: undefined };
    asked += 1;
    try {
      await ask(url, trace);
    } catch (error) {
      failed.push({ url, atMs, afterMs: Date.now() - atMs, error: String(error), ...trace });
    }
    if (!hasBegun) process.stdout.write('begun\n');
    hasBegun = true;
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

await Promise.all(process.argv.slice(2).map(askOn));
process.stdout.write(`${JSON.stringify({ asked, failed })}\n`);
