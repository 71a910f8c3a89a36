import { ShoalError } from '../../../shared/errors.ts';
import { ControlService, ListRequest } from '../../../shared/gen/shoal/v1/control.ts';
import type { StoreObject } from '../../../shared/gen/shoal/v1/objects.ts';
import {
  localCredentials,
  openChannel,
  type RpcOptions,
  serverStream,
  unary,
} from '../../../shared/rpc/io/client.ts';
import type { ControlClient, ObjectKind, ObjectOf } from '../types.ts';

/** A manager that answers nothing for so long has no leader; Swarm waits about as long. */
const CALL_WITHIN_MS = 20_000;

/** The Control service of this host's manager, by its socket. */
export function grpcControlClient(socketPath: string): ControlClient {
  const channel = openChannel(`unix://${socketPath}`, localCredentials());
  const read = (signal: AbortSignal | undefined): RpcOptions => ({
    signal,
    deadlineMs: CALL_WITHIN_MS,
  });
  const write = (signal: AbortSignal | undefined): RpcOptions => ({
    ...read(signal),
    mutates: true,
  });
  return {
    async get(kind, id, signal) {
      const object = await unary(
        channel,
        ControlService.get,
        { kind, id, stale: false },
        read(signal),
      );
      return unwrap(kind, object);
    },
    async list(kind, request, signal) {
      const objects: ObjectOf<typeof kind>[] = [];
      const serviceStatus = [];
      let index = 0;
      const asked = ListRequest.fromPartial({ ...request, kind });
      for await (const chunk of serverStream(channel, ControlService.list, asked, read(signal))) {
        for (const object of chunk.objects) objects.push(unwrap(kind, object));
        serviceStatus.push(...chunk.serviceStatus);
        index = chunk.index;
      }
      return { objects, serviceStatus, index };
    },
    create: (object, signal) => unary(channel, ControlService.create, { object }, write(signal)),
    update: (request, signal) => unary(channel, ControlService.update, request, write(signal)),
    async remove(kind, id, force, signal) {
      await unary(channel, ControlService.remove, { kind, id, force }, write(signal));
    },
    getCluster: (signal) => unary(channel, ControlService.getCluster, {}, read(signal)),
    updateCluster: (request, signal) =>
      unary(channel, ControlService.updateCluster, request, write(signal)),
    watch: (kinds, signal) =>
      serverStream(channel, ControlService.watch, { kinds: [...kinds] }, { signal }),
    serviceLogs: (subscription, signal) =>
      serverStream(channel, ControlService.serviceLogs, subscription, { signal }),
  };
}

function unwrap<K extends ObjectKind>(kind: K, object: StoreObject): ObjectOf<K> {
  if (object.kind?.$case !== kind) {
    throw new ShoalError(
      'internal',
      `the manager answered with a ${object.kind?.$case ?? 'nothing'} for a ${kind}`,
    );
  }
  return object.kind.value as ObjectOf<K>;
}
