import { parentPort, workerData } from 'node:worker_threads';
import { consoleLog } from '../../../shared/io/console-log.ts';
import { trimWhenIdle } from '../../../shared/io/idle-trim.ts';
import { IdentityHolder } from '../../../shared/pki/identity.ts';
import { buffersOf, type FromNode, type ToNode, toPlain } from '../protocol.ts';
import { type RunningNode, runNode } from './run-node.ts';
import type { ToWorker, WorkerInput } from './start.ts';

/** The thread of consensus: log, core and links, and nothing that could hold them up. */
const port = parentPort;
if (port === null) throw new Error('this file runs as a worker only');
const input = workerData as WorkerInput;
const identity = new IdentityHolder(input.identity);
const early: (readonly ToNode[])[] = [];
let node: RunningNode | undefined;

const post = (batch: readonly FromNode[]) => port.postMessage(batch, buffersOf(batch));

port.on('message', (message: ToWorker) => {
  if (message.kind === 'identity') identity.replace(message.identity);
  else if (node === undefined) early.push(message.batch);
  else node.take(message.batch);
});

try {
  node = await runNode(
    {
      folder: input.folder,
      kek: input.kek,
      listen: input.listen,
      advertise: input.advertise,
      config: input.config,
      identity,
      log: consoleLog(input.logLevel, { part: 'raft' }),
    },
    (batch) => {
      post(batch);
      // Nothing is left to do: without its port open the thread ends.
      if (batch.some(({ kind }) => kind === 'closed' || kind === 'fatal')) port.close();
    },
  );
  for (const batch of early) node.take(batch);
  trimWhenIdle();
} catch (error) {
  post([{ kind: 'fatal', error: toPlain(error) }]);
  port.close();
}
