import { type ErrorCode, isShoalError } from '../../shared/errors.ts';
import type {
  ClusterInfo,
  CreateRequest,
  GetClusterRequest,
  GetRequest,
  GetResponse,
  ListRequest,
  RemoveRequest,
  ServiceStatusCount,
  UnlockKey,
  UpdateClusterRequest,
  UpdateRequest,
  WatchChunk,
  WatchEvent,
  WatchRequest,
} from '../../shared/gen/shoal/v1/control.ts';
import type { Service, StoreObject } from '../../shared/gen/shoal/v1/objects.ts';
import { hasNewRecord } from '../store/scale-log.ts';
import { toStoreObject } from '../store/tables.ts';
import type { Change, ChangeBatch } from '../store/types.ts';
import { listChunks, watchChunks } from './chunks.ts';
import { clusterInfo, updateCluster } from './cluster.ts';
import type { ControlDeps } from './deps.ts';
import { EncodedObjects, encodeEntry } from './encoded-objects.ts';
import { createFile, removeFile, updateFile } from './files.ts';
import { find, type Kind, parseKind, parseWatchedKind } from './find.ts';
import { countTasks, listObjects } from './list.ts';
import { createNetwork, removeNetwork } from './networks.ts';
import { removeNode, updateNode, withManagerState } from './nodes.ts';
import { type RecentChange, RecentChanges } from './recent.ts';
import { redact } from './redact.ts';
import { invalid, unimplemented } from './refuse.ts';
import { claimsPorts, createService, removeService, updateService } from './services.ts';
import { Turns } from './turns.ts';

/** Errors that another state of the cluster would not give. */
const REFUSALS = [
  'not-found',
  'already-exists',
  'failed-precondition',
  'out-of-sequence',
] as const satisfies readonly ErrorCode[];

/** Of kinds that a watch does not tell: a sixteenth of what the store keeps, so that it can be resumed. */
const MARK_EACH_CHANGES = 256;

/** A whole list. `serviceStatus` is empty or as long as `objects`. */
export type ListResult = Readonly<{
  objects: readonly StoreObject[];
  serviceStatus: readonly ServiceStatusCount[];
  index: number;
}>;

/**
 * What an operator may do to the cluster, without a transport. Reads are answered by any manager
 * (after a read barrier, unless stale ones are asked for); writes work on the leader and throw
 * NotLeaderError elsewhere. The caller was authorised before: everything here is an
 * administrator's. Errors are ShoalErrors whose text says what to change.
 */
export class Control {
  readonly #deps: ControlDeps;
  readonly #turns = new Turns();
  readonly #recent: RecentChanges;
  readonly #encoded = new EncodedObjects();

  constructor(deps: ControlDeps) {
    this.#deps = deps;
    this.#recent = new RecentChanges(deps.store);
  }

  async get(request: GetRequest, signal?: AbortSignal): Promise<GetResponse> {
    const kind = parseKind(request.kind);
    await this.#barrier(request.stale, signal);
    return { object: this.#answer(kind, request.id), index: this.#deps.store.index };
  }

  async list(request: ListRequest, signal?: AbortSignal): Promise<ListResult> {
    const { kind, found, ...rest } = await this.#find(request, signal);
    return { objects: found.map((object) => this.#shown(toStoreObject(kind, object))), ...rest };
  }

  /** The same, encoded as messages of the stream that answers it. */
  async listChunks(request: ListRequest, signal?: AbortSignal): Promise<Iterable<Buffer>> {
    const { kind, found, ...rest } = await this.#find(request, signal);
    const entries = found.map((object) => {
      const shown = () => this.#shown(toStoreObject(kind, object));
      // What is shown of a node is not stored as a whole: who leads, who can be reached.
      return kind === 'node' ? encodeEntry(shown()) : this.#encoded.entryOf(object, shown);
    });
    return listChunks({ entries, ...rest });
  }

  async #find(request: ListRequest, signal: AbortSignal | undefined) {
    const kind = parseKind(request.kind);
    await this.#barrier(request.stale, signal);
    const { store } = this.#deps;
    const found = listObjects(store, kind, request);
    const counted = request.withStatus && kind === 'service';
    const serviceStatus = counted
      ? (found as Service[]).map((service) => countTasks(store, service))
      : [];
    return { kind, found, serviceStatus, index: store.index };
  }

  create(request: CreateRequest, signal?: AbortSignal): Promise<StoreObject> {
    return this.#surely(() => this.#create(request, signal), signal);
  }

  async #create({ object }: CreateRequest, signal?: AbortSignal): Promise<StoreObject> {
    const kind = object?.kind;
    if (kind === undefined) throw invalid('the object to create is missing');
    switch (kind.$case) {
      case 'service': {
        const spec = required(kind.value.spec, 'service');
        const create = () => createService(this.#deps, spec, signal);
        const id = claimsPorts(spec)
          ? await this.#turns.alone(create, signal)
          : await this.#turns.together(create, signal);
        return this.#answer('service', id);
      }
      case 'network': {
        const spec = required(kind.value.spec, 'network');
        const id = await this.#turns.alone(() => createNetwork(this.#deps, spec, signal), signal);
        return this.#answer('network', id);
      }
      case 'secret':
      case 'config': {
        // No turn: nothing else is looked at but the name, and that one is checked at apply.
        const spec = required(kind.value.spec, kind.$case);
        return this.#answer(kind.$case, await createFile(this.#deps, kind.$case, spec, signal));
      }
      default:
        throw invalid(`a ${kind.$case} cannot be created by a client`);
    }
  }

  update(request: UpdateRequest, signal?: AbortSignal): Promise<StoreObject> {
    return this.#surely(() => this.#update(request, signal), signal);
  }

  async #update(request: UpdateRequest, signal?: AbortSignal): Promise<StoreObject> {
    const kind = request.object?.kind;
    const { id, version, rollback, registryAuthFrom, removeAutoscale = false } = request;
    if (kind === undefined) throw invalid('the object to update is missing');
    switch (kind.$case) {
      case 'service': {
        const options = { version, rollback, registryAuthFrom, removeAutoscale };
        const update = () => updateService(this.#deps, id, kind.value.spec, options, signal);
        // What a rollback leads to is known only once it is its turn.
        const updated =
          rollback || claimsPorts(kind.value.spec)
            ? await this.#turns.alone(update, signal)
            : await this.#turns.together(update, signal);
        return this.#answer('service', updated);
      }
      case 'node': {
        const spec = required(kind.value.spec, 'node');
        const update = () => updateNode(this.#deps, id, version, spec, signal);
        return this.#answer('node', await this.#turns.alone(update, signal));
      }
      case 'secret':
      case 'config': {
        const spec = required(kind.value.spec, kind.$case);
        const updated = await updateFile(this.#deps, kind.$case, id, version, spec, signal);
        return this.#answer(kind.$case, updated);
      }
      case 'network':
        throw unimplemented('networks cannot be changed: remove the network and create it anew');
      default:
        throw invalid(`a ${kind.$case} cannot be updated by a client this way`);
    }
  }

  remove(request: RemoveRequest, signal?: AbortSignal): Promise<void> {
    return this.#surely(() => this.#remove(request, signal), signal);
  }

  async #remove(request: RemoveRequest, signal?: AbortSignal): Promise<void> {
    const { kind: word, id, force } = request;
    const kind = parseKind(word);
    switch (kind) {
      case 'service':
        return await removeService(this.#deps, id, signal);
      case 'network':
        return await this.#turns.alone(() => removeNetwork(this.#deps, id, signal), signal);
      case 'secret':
      case 'config':
        return await this.#turns.alone(() => removeFile(this.#deps, kind, id, signal), signal);
      case 'node':
        return await this.#turns.alone(() => removeNode(this.#deps, id, force, signal), signal);
      case 'task':
        throw invalid('a task cannot be removed by a client: scale or update its service');
    }
  }

  async getCluster(
    { stale = false }: GetClusterRequest = {},
    signal?: AbortSignal,
  ): Promise<ClusterInfo> {
    await this.#barrier(stale, signal);
    return clusterInfo(this.#deps);
  }

  /** Empty: managers do not lock themselves. */
  async getUnlockKey(signal?: AbortSignal): Promise<UnlockKey> {
    await this.#barrier(false, signal);
    return { key: Buffer.from(this.#deps.store.cluster()?.unlockKey ?? []) };
  }

  async updateCluster(request: UpdateClusterRequest, signal?: AbortSignal): Promise<ClusterInfo> {
    await this.#surely(() => updateCluster(this.#deps, request, signal), signal);
    return clusterInfo(this.#deps);
  }

  /**
   * A refusal tells of the state as a read does, and the leader's replica may be the last to apply what
   * clients have seen at others: it stands only when a replica that caught up gives it, too.
   */
  async #surely<T>(write: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    const { store } = this.#deps;
    const judgedAt = store.index;
    try {
      return await write();
    } catch (error) {
      if (!REFUSALS.some((code) => isShoalError(error, code))) throw error;
      await this.#barrier(false, signal);
      if (store.index === judgedAt) throw error;
      return await write();
    }
  }

  /**
   * Changes from the call on, in order; with `sinceMs` those before that are still kept come first, with
   * `afterIndex` all that followed it. Ends when the signal aborts; a reader too slow is cut with an error.
   */
  watch(request: WatchRequest, signal: AbortSignal): AsyncIterable<WatchChunk> {
    const { sinceMs, afterIndex } = request;
    const { store } = this.#deps;
    const wanted = new Set<string>(request.kinds.map(parseWatchedKind));
    if (afterIndex > 0) return this.#resumed(afterIndex, wanted, signal);
    const past = sinceMs > 0 ? this.#recent.since(sinceMs) : [];
    return this.#sincePresent(past, store.index, store.watch({ signal }), wanted);
  }

  async *#sincePresent(
    past: readonly RecentChange[],
    present: number,
    batches: AsyncIterable<ChangeBatch>,
    wanted: ReadonlySet<string>,
  ): AsyncGenerator<WatchChunk> {
    for (const { index, atMs, change } of past) {
      // One of several, maybe: the index before it is where all was told for sure.
      if (isWanted(change, wanted)) {
        yield { index: index - 1, atMs, events: [this.#event(change)] };
      }
    }
    yield { index: present, atMs: 0, events: [] };
    yield* this.#events(batches, wanted);
  }

  async *#resumed(
    from: number,
    wanted: ReadonlySet<string>,
    signal: AbortSignal,
  ): AsyncGenerator<WatchChunk> {
    const { store, consensus } = this.#deps;
    // The index may be another manager's, which was ahead of this replica.
    if (from > store.index) await consensus.readBarrier(signal);
    if (from > store.index) throw invalid(`after_index: ${from} lies in the future`);
    yield* this.#events(store.watch({ from, signal }), wanted);
  }

  async *#events(
    batches: AsyncIterable<ChangeBatch>,
    wanted: ReadonlySet<string>,
  ): AsyncGenerator<WatchChunk> {
    let untoldChanges = 0;
    for await (const { index, changes, atMs = 0 } of batches) {
      const events = changes
        .filter((change) => isWanted(change, wanted))
        .map((change) => this.#event(change));
      untoldChanges = events.length > 0 ? 0 : untoldChanges + changes.length;
      if (events.length > 0) yield* watchChunks(index, events, atMs);
      else if (untoldChanges >= MARK_EACH_CHANGES) {
        untoldChanges = 0;
        yield { index, atMs: 0, events: [] };
      }
    }
  }

  #event({ action, table, object, previous }: Change): WatchEvent {
    return {
      action,
      object: this.#shown(toStoreObject(table, object)),
      previous: previous && this.#shown(toStoreObject(table, previous)),
    };
  }

  /** The object as it is stored now, in the form that may be shown. */
  #answer(kind: Kind, reference: string): StoreObject {
    return this.#shown(toStoreObject(kind, find(this.#deps.store, kind, reference)));
  }

  #shown(object: StoreObject): StoreObject {
    if (object.kind?.$case !== 'node') return redact(object);
    const node = withManagerState(object.kind.value, this.#deps.consensus.status());
    return { kind: { $case: 'node', value: node } };
  }

  async #barrier(stale: boolean, signal: AbortSignal | undefined): Promise<void> {
    if (!stale) await this.#deps.consensus.readBarrier(signal);
  }
}

function isWanted(change: Change, wanted: ReadonlySet<string>): boolean {
  const { table, action } = change;
  const isUntold =
    table === 'autoscaling' && action === 'update' && !hasNewRecord(change.object, change.previous);
  if (isUntold) return false;
  return wanted.size > 0 ? wanted.has(table) : table !== 'cluster';
}

function required<T>(spec: T | undefined, kind: string): T {
  if (spec === undefined) throw invalid(`the spec of the ${kind} is missing`);
  return spec;
}
