import { localRoots } from '../../manager/ca/io/roots.ts';
import { Control } from '../../manager/control/control.ts';
import type { TableName, Tables } from '../../manager/store/types.ts';
import {
  type CreateRequest,
  GetRequest,
  ListRequest,
  RemoveRequest,
  UpdateClusterRequest,
  UpdateRequest,
} from '../../shared/gen/shoal/v1/control.ts';
import {
  NetworkSpec,
  type Service,
  ServiceSpec,
  StoreObject,
} from '../../shared/gen/shoal/v1/objects.ts';
import { silentLog } from '../../shared/log.ts';
import { clusterFixture, networkFixture } from './objects.ts';
import { storeFixture } from './store.ts';
import type { MessageInitShape } from './types.ts';

type Kind = Exclude<NonNullable<StoreObject['kind']>['$case'], 'cluster'>;

/** Control over a store without Raft, and shorthands for its requests. */
export async function controlFixture(
  objects: Partial<{ [K in TableName]: readonly Tables[K][] }> = {},
) {
  const fixture = await storeFixture({
    cluster: [clusterFixture()],
    ...objects,
    network: [
      networkFixture({ spec: { name: 'ingress', driver: 'overlay', ingress: true } }),
      ...(objects.network ?? []),
    ],
  });
  const digests: string[] = [];
  const control = new Control({
    ...fixture,
    log: silentLog,
    rootDigest: (pem) => {
      digests.push(pem);
      return 'd'.repeat(50);
    },
    roots: localRoots,
  });

  const create = async (object: CreateRequest['object']) => idOf(await control.create({ object }));
  return {
    ...fixture,
    control,
    digests,
    create,
    createService: (spec: MessageInitShape<typeof ServiceSpec> = {}) =>
      create({ kind: { $case: 'service', value: serviceOf(spec) } }),
    createNetwork: (spec: MessageInitShape<typeof NetworkSpec>) =>
      create(
        StoreObject.fromPartial({
          kind: { $case: 'network', value: { spec: NetworkSpec.fromPartial(spec) } },
        }),
      ),
    createFile: (kind: 'secret' | 'config', name: string, data = 'data') =>
      create(
        StoreObject.fromPartial({
          kind: { $case: kind, value: { spec: { name, data: Buffer.from(data) } } },
        }),
      ),
    service: async (reference: string): Promise<Service> => {
      const { object } = await control.get(
        GetRequest.fromPartial({ kind: 'service', id: reference }),
      );
      const kind = object?.kind;
      if (kind?.$case !== 'service') throw new Error('not a service');
      return kind.value;
    },
    updateService: (
      id: string,
      version: number | undefined,
      spec: MessageInitShape<typeof ServiceSpec>,
      options: MessageInitShape<typeof UpdateRequest> = {},
    ) =>
      control.update(
        UpdateRequest.fromPartial({
          ...options,
          id,
          version: version ?? 0,
          object: { kind: { $case: 'service', value: serviceOf(spec) } },
        }),
      ),
    updateObject: (kind: Kind, id: string, version: number, value: object) =>
      control.update(
        UpdateRequest.fromPartial({
          id,
          version,
          object: StoreObject.fromPartial({ kind: { $case: kind, value } as never }),
        }),
      ),
    remove: (kind: Kind, id: string, force = false) =>
      control.remove(RemoveRequest.fromPartial({ kind, id, force })),
    list: (kind: Kind, filters: MessageInitShape<typeof ListRequest> = {}) =>
      control.list(ListRequest.fromPartial({ ...filters, kind })),
    chunks: (kind: Kind, filters: MessageInitShape<typeof ListRequest> = {}) =>
      control.listChunks(ListRequest.fromPartial({ ...filters, kind })),
    updateCluster: (fields: MessageInitShape<typeof UpdateClusterRequest>) =>
      control.updateCluster(UpdateClusterRequest.fromPartial(fields)),
  };
}

export function idOf(object: StoreObject): string {
  return object.kind?.value.id ?? '';
}

function serviceOf(spec: MessageInitShape<typeof ServiceSpec>): Service {
  const full = ServiceSpec.fromPartial({
    name: 'web',
    task: { container: { image: 'web:1' } },
    ...spec,
  });
  return { id: '', meta: undefined, spec: full, specVersion: 0, allocationError: '' };
}
