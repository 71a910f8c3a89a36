import { systemClock, systemRandom } from '../../../shared/io/system.ts';
import type { Log } from '../../../shared/log.ts';
import type { IdentitySource } from '../../../shared/pki/identity.ts';
import { RaftNode } from '../node.ts';
import type { NodeConfig } from '../node-start.ts';
import type { FromNode, ToNode } from '../protocol.ts';
import { openLog } from './open-log.ts';
import { TlsPeerTransport } from './peer-transport.ts';

export type RunOptions = Readonly<{
  folder: string;
  /** What opens a log that locks itself. */
  kek: Uint8Array | undefined;
  listen: string;
  advertise: string | undefined;
  config: NodeConfig;
  identity: IdentitySource;
  log: Log;
}>;
export type RunningNode = Readonly<{ take: (batch: readonly ToNode[]) => void }>;

/** Opens log and links and starts the node on them. */
export async function runNode(
  options: RunOptions,
  post: (batch: readonly FromNode[]) => void,
): Promise<RunningNode> {
  const storage = openLog(options.folder, options.kek);
  let transport: TlsPeerTransport | undefined;
  try {
    const { listen, advertise, identity, log, config } = options;
    transport = new TlsPeerTransport({ listen, advertise, identity, log });
    await transport.listen();
    const node = new RaftNode(config, {
      storage,
      transport,
      clock: systemClock,
      random: systemRandom,
      log,
      defer: (fn) => setImmediate(fn),
      post,
    });
    node.start();
    return { take: (batch) => node.take(batch) };
  } catch (error) {
    storage.close();
    await transport?.close();
    throw error;
  }
}
