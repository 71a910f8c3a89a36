import { BACKUP_CONTENT_TYPE, backupFrame, backupFrames } from '../shared/backup.ts';
import { openBackup, type Progress, writeBackup } from './io/backup-file.ts';
import type { Engine } from './io/engine.ts';

/** Writes the whole cluster's state to a file that only the passphrase opens. */
export async function clusterBackup(
  engine: Engine,
  file: string,
  passphrase: string,
  progress: Progress,
): Promise<string> {
  const answer = await engine.stream('/cluster/backup');
  try {
    const messages = backupFrames(answer);
    const { clusterId, index, objects } = await writeBackup(file, passphrase, messages, progress);
    return `${objects} objects of cluster ${clusterId} at index ${index} are in ${file}`;
  } finally {
    answer.destroy(); // or the daemon would wait for what is left to be read
  }
}

export type RestoreOptions = Readonly<{ advertiseAddress: string }>;

/** Makes the daemon's host, which is in no cluster, the first manager of the one in the file. */
export async function clusterRestore(
  engine: Engine,
  file: string,
  passphrase: () => Promise<string>,
  options: RestoreOptions,
  progress: Progress,
): Promise<string> {
  const backup = await openBackup(file);
  try {
    const { clusterId, createdAt, objects } = backup.header;
    const messages = backup.messages(await passphrase(), progress);
    // Before anything is sent: a wrong passphrase shows with the first one.
    const first = await messages.next();
    async function* body(): AsyncGenerator<Uint8Array> {
      for (let next = first; !next.done; next = await messages.next())
        yield backupFrame(next.value);
    }
    const query = new URLSearchParams({ advertiseAddr: options.advertiseAddress });
    const answer = await engine.send(`/cluster/restore?${query}`, body(), BACKUP_CONTENT_TYPE);
    const { NodeID } = JSON.parse(answer) as { NodeID: string };
    return `cluster ${clusterId} as of ${createdAt} (${objects} objects) is back; this node (${NodeID}) is its only manager.
Others join with the tokens of "shoal swarm join-token"; nodes of before that are lost: docker node rm.`;
  } finally {
    await backup.close();
  }
}
