import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Host, TestCluster } from './cluster.ts';

const LOCAL_CLUSTER = fileURLToPath(new URL('../../../deploy/local-cluster', import.meta.url));
const ASKER = fileURLToPath(new URL('asker.ts', import.meta.url));

export type Report = Readonly<{ asked: number; failed: readonly unknown[] }>;

/**
 * Asks a published port of hosts from another host, one request after the other, until told to end. Resolves once the
 * first request is over: what follows happens under these requests.
 */
export async function askHosts(
  cluster: Pick<TestCluster, 'name'>,
  from: Host,
  hosts: readonly Host[],
  portAndPath: string,
): Promise<() => Promise<Report>> {
  const urls = hosts.map(({ address }) => `http://${address}:${portAndPath}`);
  const child = spawn(
    LOCAL_CLUSTER,
    ['exec', '--name', cluster.name, '--host', from.name, '--', process.execPath, ASKER, ...urls],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  // From now on: one that ended early is not waited for.
  const ended = once(child, 'exit');
  child.stdin.on('error', () => undefined);
  const nextLine = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`the asker on ${from.name} ended early`);
    return value;
  };
  await nextLine();
  return async () => {
    child.stdin.end();
    const report = JSON.parse(await nextLine());
    await ended;
    return report;
  };
}
