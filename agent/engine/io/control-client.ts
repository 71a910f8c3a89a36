import { connect } from 'node:net';
import { ShoalError } from '../../../shared/errors.ts';
import {
  ControlService,
  ListChunk,
  ListRequest,
  type ServiceStatusCount,
  type WatchRequest,
} from '../../../shared/gen/shoal/v1/control.ts';
import { StoreObject } from '../../../shared/gen/shoal/v1/objects.ts';
import {
  type Channel,
  localCredentials,
  openChannel,
  serverStream,
} from '../../../shared/rpc/io/client.ts';
import { LinkClient } from '../../../shared/rpc/io/link-client.ts';
import { linkPathOf } from '../../../shared/rpc/io/link-socket.ts';
import { type Head, headOf, openChunk } from '../list-chunk.ts';
import type {
  ControlClient,
  ListFilters,
  ObjectKind,
  ObjectOf,
  Reads,
  WatchStart,
} from '../types.ts';

/** Managers answer or say why not well before; this is for one that hangs. */
const ANSWER_WITHIN_MS = 30_000;
/** For a moment after a promotion, a restart, or before a demotion is over. */
const NOT_UP =
  'the manager of this host is not up: it starts or stops. Try again in a moment; if this lasts, the log of shoald says why';

/**
 * The manager of this host, on its unix sockets: a link for what is answered at once, gRPC for what
 * goes on. Connects when first used, and anew when it was lost.
 */
export function managerControlClient(socketPath: string): ControlClient & { close(): void } {
  const link = new LinkClient(() => connect(linkPathOf(socketPath)), { notConnected: NOT_UP });
  let channel: Channel | undefined;
  const streams = () => {
    channel ??= openChannel(`unix://${socketPath}`, localCredentials());
    return channel;
  };
  const read = (signal: AbortSignal | undefined) => ({ signal, deadlineMs: ANSWER_WITHIN_MS });
  const write = (signal: AbortSignal | undefined) => ({ ...read(signal), mutates: true });
  return {
    get: async (kind, id, signal, reads) => {
      const request = { kind, id, stale: reads?.stale ?? false };
      const { object, index } = await link.unary(ControlService.get, request, read(signal));
      reads?.note(index);
      return objectOf(kind, object);
    },

    list: async <K extends ObjectKind>(
      kind: K,
      request: ListFilters,
      signal?: AbortSignal,
      reads?: Reads,
    ) => {
      const objects: ObjectOf<K>[] = [];
      const serviceStatus: ServiceStatusCount[] = [];
      let index = 0;
      const take = (bytes: Buffer) => {
        const chunk = ListChunk.decode(bytes);
        for (const object of chunk.objects) objects.push(objectOf(kind, object));
        serviceStatus.push(...chunk.serviceStatus);
        index = chunk.index;
      };
      const message = ListRequest.fromPartial({ ...request, kind, stale: reads?.stale ?? false });
      await link.each(ControlService.list, message, take, read(signal));
      reads?.note(index);
      return { objects, serviceStatus };
    },

    listHeads: async <K extends ObjectKind, T>(
      kind: K,
      request: ListFilters,
      each: (head: Head, object: () => ObjectOf<K>) => T,
      signal?: AbortSignal,
      reads?: Reads,
    ) => {
      const items: T[] = [];
      const serviceStatus: ServiceStatusCount[] = [];
      let index = 0;
      const take = (bytes: Buffer) => {
        const chunk = openChunk(bytes);
        for (const entry of chunk.entries) {
          items.push(each(headOf(entry), () => objectOf(kind, StoreObject.decode(entry))));
        }
        serviceStatus.push(...chunk.serviceStatus);
        index = chunk.index;
      };
      const message = ListRequest.fromPartial({ ...request, kind, stale: reads?.stale ?? false });
      await link.each(ControlService.list, message, take, read(signal));
      reads?.note(index);
      return { items, serviceStatus };
    },

    create: (object, signal) => link.unary(ControlService.create, { object }, write(signal)),
    update: (request, signal) => link.unary(ControlService.update, request, write(signal)),
    remove: async (kind, id, force, signal) => {
      await link.unary(ControlService.remove, { kind, id, force }, write(signal));
    },
    getCluster: (signal, reads) =>
      link.unary(ControlService.getCluster, { stale: reads?.stale ?? false }, read(signal)),
    updateCluster: (request, signal) =>
      link.unary(ControlService.updateCluster, request, write(signal)),
    autoscaling: (request, signal) =>
      link.unary(ControlService.getAutoscaling, request, read(signal)),
    unlockKey: async (signal) => {
      const { key } = await link.unary(ControlService.getUnlockKey, {}, read(signal));
      return key;
    },
    watch: (kinds, start, signal) =>
      serverStream(streams(), ControlService.watch, watchRequest(kinds, start), { signal }),
    serviceLogs: (subscription, signal) =>
      serverStream(streams(), ControlService.serviceLogs, subscription, { signal }),
    close: () => {
      link.close();
      channel?.close();
    },
  };
}

export function watchRequest(kinds: readonly ObjectKind[], start: WatchStart): WatchRequest {
  return {
    kinds: [...kinds],
    sinceMs: start !== 'now' && start.kind === 'since' ? start.ms : 0,
    afterIndex: start !== 'now' && start.kind === 'after' ? start.index : 0,
  };
}

function objectOf<K extends ObjectKind>(kind: K, object: StoreObject | undefined): ObjectOf<K> {
  const found = object?.kind;
  if (found?.$case !== kind) {
    throw new ShoalError(
      'internal',
      `the manager answered ${found?.$case ?? 'nothing'}, not a ${kind}`,
    );
  }
  return found.value as ObjectOf<K>;
}
