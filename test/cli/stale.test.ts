import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import { ShoalError } from '../../shared/errors.ts';
import { EngineHost } from '../support/engine-host.ts';

const MAIN = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));

test('--stale shows what there is without a leader, on lists and nowhere else', async (t) => {
  const host = await EngineHost.start();
  t.teardown(() => host.close());
  host.consensus.barrierError = new ShoalError('unavailable', 'no leader');
  const shoal = (...args: string[]) =>
    promisify(execFile)(process.execPath, [MAIN, '--host', `unix://${host.socketPath}`, ...args]);
  const { stdout } = await shoal('network', 'ls', '--stale');
  t.regex(stdout, /ingress/);
  t.regex((await shoal('service', 'ls', '--stale')).stdout, /^ID/);
  await t.throwsAsync(shoal('network', 'ls'), { message: /no leader/ });
  await t.throwsAsync(shoal('network', 'create', 'x', '--stale'), { message: /lists only/ });
});
