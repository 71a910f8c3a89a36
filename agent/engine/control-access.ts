import { isShoalError } from '../../shared/errors.ts';
import type { Network } from '../../shared/gen/shoal/v1/objects.ts';
import { isId } from '../../shared/ids.ts';
import { HttpError, rpcError } from './http.ts';
import { LOCKED, NOT_A_MANAGER } from './swarm-words.ts';
import type { ControlClient, Membership, ObjectKind, Reads } from './types.ts';

const WORKER =
  "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run this command on a manager node or promote the current node to a manager.";
const STARTING =
  "The swarm does not have a leader. It's possible that too few managers are online. Make sure more than half of the managers are online.";

/** The way from the API to the cluster: refuses where this host may not, and words errors as Docker does. */
export class ControlAccess {
  readonly #membership: Membership;
  readonly #connect: () => ControlClient | undefined;
  /** A network's spec and subnets never change once it is allocated; tasks lists ask for the same ones. */
  readonly #networks = new Map<string, Network>();

  /** `connect` gives the manager of this host, undefined while there is none. */
  constructor(membership: Membership, connect: () => ControlClient | undefined) {
    this.#membership = membership;
    this.#connect = connect;
  }

  /**
   * Throws HttpError 503 with Docker's words where this host is no manager. All reads through what is
   * returned are made as `reads` say; without, they are linearizable.
   */
  control(reads?: Reads): ControlClient {
    const { localState, isManager } = this.#membership.standing();
    if (localState === 'locked') throw new HttpError(503, LOCKED);
    if (localState === 'inactive') throw new HttpError(503, NOT_A_MANAGER);
    if (!isManager) throw new HttpError(503, WORKER);
    const client = this.#connect();
    if (client === undefined) throw new HttpError(503, STARTING);
    return withRpcWords(client, reads);
  }

  /** For views that show what they can: undefined instead of an error. */
  controlIfManager(reads?: Reads): ControlClient | undefined {
    const { localState, isManager } = this.#membership.standing();
    const client = localState === 'active' && isManager ? this.#connect() : undefined;
    return client && withRpcWords(client, reads);
  }

  /** The networks with these ids, as far as they exist. */
  async networks(
    ids: ReadonlySet<string>,
    reads?: Reads,
  ): Promise<(id: string) => Network | undefined> {
    const isKnown = (id: string) => this.#networks.has(id);
    if (![...ids].every(isKnown)) {
      const { objects } = await this.control(reads).list('network', {});
      // Replaced and not added to: the map stays as large as the cluster's list of networks.
      this.#networks.clear();
      for (const network of objects) {
        if (network.ipam.length > 0) this.#networks.set(network.id, network);
      }
      const found = new Map(objects.map((network) => [network.id, network]));
      return (id) => found.get(id);
    }
    return (id) => this.#networks.get(id);
  }
}

/**
 * The full id of an object that a filter names by id, name or prefix. What looks like a full id is
 * taken for one: pollers send these many times a second, and an unknown one matches nothing.
 */
export async function idForFilter(control: ControlClient, kind: ObjectKind, name: string) {
  return isId(name) ? name : (await control.get(kind, name)).id;
}

function withRpcWords(client: ControlClient, by: Reads | undefined): ControlClient {
  return {
    get: (kind, id, signal, reads = by) =>
      client.get(kind, id, signal, reads).catch((error: unknown) => {
        if (isShoalError(error, 'not-found')) {
          throw new HttpError(404, `${kind} ${id} not found`, { cause: error });
        }
        throw rpcError(error);
      }),
    list: (kind, request, signal, reads = by) =>
      client.list(kind, request, signal, reads).catch(raise),
    listHeads: (kind, request, each, signal, reads = by) =>
      client.listHeads(kind, request, each, signal, reads).catch(raise),
    create: (object, signal) => client.create(object, signal).catch(raise),
    update: (request, signal) => client.update(request, signal).catch(raise),
    remove: (kind, id, force, signal) =>
      client.remove(kind, id, force, signal).catch((error: unknown) => {
        if (isShoalError(error, 'not-found')) {
          throw new HttpError(404, `${kind} ${id} not found`, { cause: error });
        }
        throw rpcError(error);
      }),
    getCluster: (signal, reads = by) => client.getCluster(signal, reads).catch(raise),
    updateCluster: (request, signal) => client.updateCluster(request, signal).catch(raise),
    autoscaling: (request, signal) => client.autoscaling(request, signal).catch(raise),
    unlockKey: (signal) => client.unlockKey(signal).catch(raise),
    watch: (kinds, start, signal) => client.watch(kinds, start, signal),
    serviceLogs: (subscription, signal) => client.serviceLogs(subscription, signal),
  };
}

function raise(error: unknown): never {
  throw rpcError(error);
}
