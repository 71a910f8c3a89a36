import { spawn } from 'node:child_process';

/**
 * System tools come from the system's folders only: a PATH made by npm may lead to programs of the same
 * name (a package in our own tree ships an `nft`).
 */
export const TOOL_ENV = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };

/** A tool that hangs is killed after this time; the longest real call is a dump of a very large table. */
const LIMIT_MS = 30_000;

export type Outcome = Readonly<{ status: number; stdout: string; stderr: string }>;

/** Runs a tool to its end; a status other than 0 is an answer, not an error. Throws when it cannot be started. */
export function run(
  command: string,
  args: readonly string[],
  input: string | undefined = undefined,
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      env: TOOL_ENV,
      stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
      timeout: LIMIT_MS,
    });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout?.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr?.on('data', (chunk: Buffer) => err.push(chunk));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      resolve({
        status: code ?? -1,
        stdout: Buffer.concat(out).toString(),
        stderr: Buffer.concat(err).toString() + (signal === null ? '' : `ended by ${signal}`),
      });
    });
    if (child.stdin !== null) {
      // A tool that ends before it has read all says so by its status.
      child.stdin.on('error', () => undefined);
      child.stdin.end(input);
    }
  });
}
