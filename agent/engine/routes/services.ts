import { messageOf } from '../../../shared/errors.ts';
import type { ListRequest, ServiceStatusCount } from '../../../shared/gen/shoal/v1/control.ts';
import { Service, type ServiceSpec } from '../../../shared/gen/shoal/v1/objects.ts';
import { effectiveAutoscale } from '../../../shared/model/autoscale-labels.ts';
import { autoscaleWarnings } from '../autoscale-warnings.ts';
import { isObject } from '../codec.ts';
import type { EngineDeps } from '../deps.ts';
import { type Filters, parseFilters, valuesIn } from '../filters.ts';
import {
  type Call,
  empty,
  HttpError,
  isTrue,
  json,
  jsonText,
  jsonTexts,
  type Reply,
} from '../http.ts';
import { autoscaleStatusJson } from '../json/autoscaling.ts';
import { serviceJson, serviceSpec } from '../json/service.ts';
import { Rendered } from '../rendered.ts';
import type { Route } from '../router.ts';
import { versionOf, withDeadline } from './common.ts';

/** It is beside the point of the answer. */
const STATUS_WITHIN_MS = 1_000;
const SERVICE_FILTERS = ['id', 'name', 'label', 'mode', 'runtime'];

export function serviceRoutes(deps: EngineDeps): Route[] {
  const rendered = new Rendered((service: Service) => serviceJson(service));
  return [
    ['GET /services', (call) => list(deps, rendered, call)],
    ['POST /services/create', (call) => create(deps, call)],
    ['GET /services/{id}', (call) => inspect(deps, rendered, call)],
    ['POST /services/{id}/update', (call) => update(deps, call)],
    ['DELETE /services/{id}', (call) => remove(deps, call)],
  ];
}

async function list(deps: EngineDeps, rendered: Rendered<Service>, call: Call): Promise<Reply> {
  const filters = parseFilters(call.query, SERVICE_FILTERS);
  const withStatus = isTrue(call.query.get('status'));
  const control = deps.access.control(call.reads);
  const runtimes = valuesIn(filters, 'runtime');
  if (runtimes.length > 0 && !runtimes.includes('container')) return json([]);
  const request = { ...serviceListRequest(filters), withStatus };
  const { items, serviceStatus } = await control.listHeads(
    'service',
    request,
    (head, service) => rendered.text(head, service),
    call.signal,
  );
  const texts = items.map((text, index) => {
    const status = serviceStatus[index];
    return withStatus && status !== undefined ? withField(text, statusField(status)) : text;
  });
  return jsonTexts(texts);
}

function statusField(status: ServiceStatusCount): string {
  return `"ServiceStatus":${JSON.stringify({
    RunningTasks: status.runningTasks,
    DesiredTasks: status.desiredTasks,
    CompletedTasks: status.completedTasks,
  })}`;
}

/** The text of an object with one more field. */
function withField(text: Buffer, field: string): Buffer {
  return Buffer.concat([text.subarray(0, -1), Buffer.from(`,${field}}`)]);
}

const MODE_WORDS = ['replicated', 'global', 'replicated-job', 'global-job'];

export function serviceListRequest(filters: Filters): Partial<ListRequest> {
  const modes = valuesIn(filters, 'mode');
  const unknown = modes.find((mode) => !MODE_WORDS.includes(mode));
  if (unknown !== undefined) throw new HttpError(400, `invalid filter 'mode=${unknown}'`);
  return {
    ids: valuesIn(filters, 'id'),
    names: valuesIn(filters, 'name'),
    labels: valuesIn(filters, 'label'),
    modes,
  };
}

async function inspect(deps: EngineDeps, rendered: Rendered<Service>, call: Call): Promise<Reply> {
  const control = deps.access.control(call.reads);
  const service = await control.get('service', call.params.id ?? '', call.signal);
  const status = await autoscaleStatus(deps, service, call.signal);
  if (isTrue(call.query.get('insertDefaults'))) {
    return json({ ...serviceJson(service, true), ...(status && { AutoscaleStatus: status }) });
  }
  const text = rendered.textOf(service);
  return jsonText(
    status === undefined ? text : withField(text, `"AutoscaleStatus":${JSON.stringify(status)}`),
  );
}

/** Of a service that follows its load, asked of the leader; left out where that one does not answer soon. */
async function autoscaleStatus(deps: EngineDeps, { id, spec }: Service, signal: AbortSignal) {
  if (spec === undefined || effectiveAutoscale(spec) === undefined) return undefined;
  const request = { services: [id], records: true, replay: false };
  try {
    const { services } = await withDeadline(deps.clock, STATUS_WITHIN_MS, signal, (limited) =>
      deps.access.control().autoscaling(request, limited),
    );
    const [only] = services;
    return only && autoscaleStatusJson(only);
  } catch (error) {
    deps.log.debug('the state of autoscaling is not known', { error: messageOf(error) });
    return undefined;
  }
}

async function create(deps: EngineDeps, call: Call): Promise<Reply> {
  const spec = withCredentials(serviceSpec.decode(await call.json(), ''), call);
  const created = await deps.access
    .control()
    .create({ kind: { $case: 'service', value: Service.fromPartial({ spec }) } });
  if (created.kind?.$case !== 'service') return json({ ID: '', Warnings: null }, 201);
  const service = created.kind.value;
  return json({ ID: service.id, Warnings: autoscaleWarnings(spec, undefined, service) }, 201);
}

async function update(deps: EngineDeps, call: Call): Promise<Reply> {
  const body = await call.json();
  const spec = withCredentials(serviceSpec.decode(body, ''), call);
  const version = versionOf(call, 'service');
  const rollback = call.query.get('rollback') ?? '';
  if (rollback !== '' && rollback !== 'previous') {
    throw new HttpError(400, `unrecognized rollback option ${rollback}`);
  }
  const control = deps.access.control();
  const before = await control.get('service', call.params.id ?? '');
  const { id } = before;
  const updated = await control.update({
    id,
    version,
    object: { kind: { $case: 'service', value: Service.fromPartial({ id, spec }) } },
    rollback: rollback === 'previous',
    registryAuthFrom: call.query.get('registryAuthFrom') ?? '',
    removeAutoscale: saysNull(body, 'autoscale'),
  });
  const after = updated.kind?.$case === 'service' ? updated.kind.value : undefined;
  const isTold = after !== undefined && rollback === '';
  return json({ Warnings: isTold ? autoscaleWarnings(spec, before, after) : null });
}

async function remove(deps: EngineDeps, call: Call): Promise<Reply> {
  const control = deps.access.control();
  const { id } = await control.get('service', call.params.id ?? '');
  await control.remove('service', id, false);
  return empty();
}

/** An explicit null: clients that do not know a field leave it out. */
function saysNull(body: unknown, field: string): boolean {
  return (
    isObject(body) &&
    Object.entries(body).some(([name, value]) => name.toLowerCase() === field && value === null)
  );
}

/** Registry credentials travel beside the spec and are kept in it. `e30=` is how clients say none. */
function withCredentials(spec: ServiceSpec, call: Call): ServiceSpec {
  const registryAuth = call.headers['x-registry-auth'] ?? '';
  const container = spec.task?.container;
  if (registryAuth === '' || registryAuth === 'e30=' || container === undefined) return spec;
  return {
    ...spec,
    task: { ...spec.task, container: { ...container, registryAuth } },
  } as ServiceSpec;
}
