import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type { Host, TestCluster } from './cluster.ts';

const LOCAL_CLUSTER = fileURLToPath(new URL('../../../deploy/local-cluster', import.meta.url));
const ASKER = fileURLToPath(new URL('asker.ts', import.meta.url));

export type Report = Readonly<{ asked: number; failed: readonly unknown[] }>;

/** Asks a published port of hosts from another host, one request after the other, until told to end. */
export function askHosts(
  cluster: Pick<TestCluster, 'name'>,
  from: Host,
  hosts: readonly Host[],
  portAndPath: string,
): () => Promise<Report> {
  const urls = hosts.map(({ address }) => `http://${address}:${portAndPath}`);
  const child = spawn(
    LOCAL_CLUSTER,
    ['exec', '--name', cluster.name, '--host', from.name, '--', process.execPath, ASKER, ...urls],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const said = text(child.stdout);
  // From now on: one that ended early is not waited for.
  const ended = once(child, 'exit');
  child.stdin.on('error', () => undefined);
  return async () => {
    child.stdin.end();
    await ended;
    return JSON.parse(await said);
  };
}
