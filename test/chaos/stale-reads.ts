import { readFileSync } from 'node:fs';
import { isShoalError, messageOf } from '../../shared/errors.ts';
import { ControlService } from '../../shared/gen/shoal/v1/control.ts';
import { type Channel, localCredentials, openChannel, unary } from '../../shared/rpc/io/client.ts';
import type { ChaosCluster, Reply } from './cluster.ts';

/**
 * What the Engine API never does: reads of a manager's own replica, old as it may be. A run with these
 * must be found wrong, or a manager that reads like this by mistake would not be found either.
 */
export class StaleReads {
  readonly #cluster: ChaosCluster;
  readonly #channels = new Map<string, Channel>();

  constructor(cluster: ChaosCluster) {
    this.#cluster = cluster;
  }

  /** Of `GET /configs/NAME` and `GET /services/NAME`, answered as the Engine API would. */
  async ask(host: string, path: string, withinMs: number): Promise<Reply> {
    const [, folder, id = ''] = path.split('/');
    const kind = folder === 'services' ? 'service' : 'config';
    try {
      const request = { kind, id, stale: true };
      const options = { deadlineMs: withinMs };
      const { object } = await unary(this.#channel(host), ControlService.get, request, options);
      if (object?.kind?.$case !== 'config' && object?.kind?.$case !== 'service') {
        throw new Error(`a ${kind} was asked for`);
      }
      const { value } = object.kind;
      const view = {
        ID: value.id,
        Version: { Index: value.meta?.version },
        Spec: { Labels: value.spec?.labels },
      };
      return { kind: 'answer', status: 200, text: JSON.stringify(view) };
    } catch (error) {
      if (isShoalError(error, 'not-found')) return { kind: 'answer', status: 404, text: '' };
      return { kind: 'lost', why: messageOf(error) };
    }
  }

  close(): void {
    for (const channel of this.#channels.values()) channel.close();
  }

  /** The socket lies in the host's own /run, which is another one after each loss of power. */
  #channel(host: string): Channel {
    const init = readFileSync(`${this.#cluster.folder(host)}/init.pid`, 'utf8').trim();
    const path = `/proc/${init}/root/run/shoal/manager.sock`;
    let channel = this.#channels.get(path);
    if (channel === undefined) {
      channel = openChannel(`unix://${path}`, localCredentials());
      this.#channels.set(path, channel);
    }
    return channel;
  }
}
