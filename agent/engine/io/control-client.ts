import { ShoalError } from '../../../shared/errors.ts';
import {
  ControlService,
  ListRequest,
  type ServiceStatusCount,
} from '../../../shared/gen/shoal/v1/control.ts';
import type { StoreObject } from '../../../shared/gen/shoal/v1/objects.ts';
import {
  localCredentials,
  openChannel,
  serverStream,
  unary,
} from '../../../shared/rpc/io/client.ts';
import type { ControlClient, ObjectKind, ObjectOf } from '../types.ts';

/** Managers answer or say why not well before; this is for one that hangs. */
const ANSWER_WITHIN_MS = 30_000;

/** The manager of this host, by gRPC on its unix socket. Connects when first used, and anew when it was lost. */
export function grpcControlClient(socketPath: string): ControlClient & { close(): void } {
  const channel = openChannel(`unix://${socketPath}`, localCredentials());
  const read = (signal: AbortSignal | undefined) => ({ signal, deadlineMs: ANSWER_WITHIN_MS });
  const write = (signal: AbortSignal | undefined) => ({ ...read(signal), mutates: true });
  return {
    get: async (kind, id, signal) =>
      objectOf(
        kind,
        await unary(channel, ControlService.get, { kind, id, stale: false }, read(signal)),
      ),

    list: async <K extends ObjectKind>(
      kind: K,
      request: Partial<Omit<ListRequest, 'kind'>>,
      signal?: AbortSignal,
    ) => {
      const objects: ObjectOf<K>[] = [];
      const serviceStatus: ServiceStatusCount[] = [];
      let index = 0;
      const message = ListRequest.fromPartial({ ...request, kind });
      for await (const chunk of serverStream(channel, ControlService.list, message, read(signal))) {
        for (const object of chunk.objects) objects.push(objectOf(kind, object));
        for (const status of chunk.serviceStatus) serviceStatus.push(status);
        index = chunk.index;
      }
      return { objects, serviceStatus, index };
    },

    create: (object, signal) => unary(channel, ControlService.create, { object }, write(signal)),
    update: (request, signal) => unary(channel, ControlService.update, request, write(signal)),
    remove: async (kind, id, force, signal) => {
      await unary(channel, ControlService.remove, { kind, id, force }, write(signal));
    },
    getCluster: (signal) => unary(channel, ControlService.getCluster, {}, read(signal)),
    updateCluster: (request, signal) =>
      unary(channel, ControlService.updateCluster, request, write(signal)),
    watch: (kinds, signal) =>
      serverStream(channel, ControlService.watch, { kinds: [...kinds] }, { signal }),
    serviceLogs: (subscription, signal) =>
      serverStream(channel, ControlService.serviceLogs, subscription, { signal }),
    close: () => channel.close(),
  };
}

function objectOf<K extends ObjectKind>(kind: K, { kind: found }: StoreObject): ObjectOf<K> {
  if (found?.$case !== kind) {
    throw new ShoalError(
      'internal',
      `the manager answered ${found?.$case ?? 'nothing'}, not a ${kind}`,
    );
  }
  return found.value as ObjectOf<K>;
}
