import type { StoreObject } from '../../../shared/gen/shoal/v1/objects.ts';
import { Config, Secret } from '../../../shared/gen/shoal/v1/objects.ts';
import type { EngineDeps } from '../deps.ts';
import { parseFilters, valuesIn } from '../filters.ts';
import { type Call, empty, json, type Reply } from '../http.ts';
import { configJson, configSpec, secretJson, secretSpec } from '../json/files.ts';
import type { Route } from '../router.ts';
import type { Reads } from '../types.ts';
import { versionOf } from './common.ts';

/** Secrets and configs: the same verbs on both. */
export function fileRoutes(deps: EngineDeps): Route[] {
  return [
    ...routesOf(deps, {
      kind: 'secret',
      show: (object) => (object?.$case === 'secret' ? secretJson(object.value) : undefined),
      fromBody: (body, id) => ({
        $case: 'secret',
        value: Secret.fromPartial({ id, spec: secretSpec.decode(body, '') }),
      }),
    }),
    ...routesOf(deps, {
      kind: 'config',
      show: (object) => (object?.$case === 'config' ? configJson(object.value) : undefined),
      fromBody: (body, id) => ({
        $case: 'config',
        value: Config.fromPartial({ id, spec: configSpec.decode(body, '') }),
      }),
    }),
  ];
}

type Kind = Readonly<{
  kind: 'secret' | 'config';
  show(object: StoreObject['kind']): unknown;
  fromBody(body: unknown, id: string): NonNullable<StoreObject['kind']>;
}>;

function routesOf(deps: EngineDeps, type: Kind): Route[] {
  const { kind } = type;
  const control = () => deps.access.control();
  const find = (call: Call, reads?: Reads) =>
    deps.access.control(reads).get(kind, call.params.id ?? '');
  const shown = (value: unknown) => type.show({ $case: kind, value } as StoreObject['kind']);
  return [
    [`GET /${kind}s`, (call) => list(call)],
    [`POST /${kind}s/create`, create],
    [`GET /${kind}s/{id}`, async (call) => json(shown(await find(call, call.reads)))],
    [`POST /${kind}s/{id}/update`, update],
    [
      `DELETE /${kind}s/{id}`,
      async (call) => {
        const { id } = await find(call);
        await control().remove(kind, id, false);
        return empty(204);
      },
    ],
  ];

  async function list(call: Call): Promise<Reply> {
    const filters = parseFilters(call.query, ['id', 'name', 'names', 'label']);
    const request = {
      ids: valuesIn(filters, 'id'),
      names: valuesIn(filters, 'name'),
      exactNames: valuesIn(filters, 'names'),
      labels: valuesIn(filters, 'label'),
    };
    const { objects } = await deps.access.control(call.reads).list(kind, request, call.signal);
    return json(objects.map(shown));
  }

  async function create(call: Call): Promise<Reply> {
    const created = await control().create({ kind: type.fromBody(await call.json(), '') });
    return json({ ID: created.kind?.value.id ?? '' }, 201);
  }

  async function update(call: Call): Promise<Reply> {
    const body = await call.json();
    type.fromBody(body, ''); // a broken body is told before a missing object
    const version = versionOf(call, kind);
    const { id } = await find(call);
    const object = { kind: type.fromBody(body, id) };
    await control().update({ id, version, object, rollback: false, registryAuthFrom: '' });
    return empty();
  }
}
