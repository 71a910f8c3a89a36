import { ShoalError } from '../../shared/errors.ts';
import { type Service, ServiceSpec, type UpdateStatus } from '../../shared/gen/shoal/v1/objects.ts';
import { newId } from '../../shared/ids.ts';
import { sameValue } from '../../shared/model/equal.ts';
import { saidReplicas } from '../../shared/model/replicas.ts';
import { replacesTasks } from '../../shared/model/spec-change.ts';
import { createAction, removeAction, updateAction } from '../store/tables.ts';
import { nameConflict } from '../store/transaction.ts';
import type { ReadView } from '../store/types.ts';
import type { ControlDeps } from './deps.ts';
import { find } from './find.ts';
import { checkPortConflicts, resolveReferences } from './references.ts';
import { invalid, notFound, outOfSequence, precondition } from './refuse.ts';
import { type Counted, countedSpec } from './scaled-replicas.ts';
import { checkServiceSpec, completeServiceSpec } from './validation/service-spec.ts';

/** What `UpdateRequest` says beside the new spec. */
export type ServiceUpdateOptions = Readonly<{
  version: number;
  rollback: boolean;
  /** Where registry credentials come from when the spec has none: `spec` (also empty) or `previous-spec`. */
  registryAuthFrom: string;
  /** A spec without `autoscale` takes it away; else it keeps what is stored. */
  removeAutoscale: boolean;
}>;

/**
 * Whether it must look at all other services before it is stored: the only thing two of them can take
 * from each other that is not checked when it is applied (as names and versions are).
 */
export function claimsPorts(spec: ServiceSpec | undefined): boolean {
  return spec?.endpoint?.ports.some(({ publishedPort }) => publishedPort !== 0) ?? false;
}

export async function createService(
  { store, writer, random }: ControlDeps,
  given: ServiceSpec,
  signal?: AbortSignal,
): Promise<string> {
  const id = newId(random);
  // Docker makes up a name when none is given; this one says where it comes from.
  const named = given.name === '' ? { ...given, name: `service-${id.slice(-8)}` } : given;
  const judged = judge(store, named, id);
  const { spec, declaredReplicas } = countedSpec(judged, undefined, true);
  if (store.byName('service', spec.name) !== undefined) {
    throw new ShoalError('already-exists', nameConflict('service', spec.name));
  }
  const service: Service = {
    id,
    meta: undefined,
    spec,
    specVersion: 1,
    allocationError: '',
    declaredReplicas,
  };
  await writer.write([createAction('service', service)], signal);
  return id;
}

export async function updateService(
  { store, writer, clock }: ControlDeps,
  reference: string,
  given: ServiceSpec | undefined,
  options: ServiceUpdateOptions,
  signal?: AbortSignal,
): Promise<string> {
  const stored = find(store, 'service', reference);
  if (stored.meta?.version !== options.version) throw outOfSequence();
  const wanted = options.rollback ? stored.previousSpec : given;
  if (wanted === undefined) {
    throw options.rollback
      ? precondition(`service ${reference} does not have a previous spec`)
      : invalid('the new spec of the service is missing');
  }
  const kept = withAutoscale(withRegistryAuth(wanted, stored, options), stored, options);
  const judged = judge(store, kept, stored.id);
  checkUnchangeable(stored.spec, judged);
  // As the operator gave it: completed, a spec without a count would ask for 1.
  const saysCount = !options.rollback && saidReplicas(wanted) !== undefined;
  const counted = countedSpec(judged, stored, saysCount);
  const updated = updatedService(stored, counted, options.rollback, clock.now());
  await writer.write([updateAction('service', updated)], signal);
  return stored.id;
}

/** The service object goes; its tasks are told to stop by the orchestrator, which sees them orphaned. */
export async function removeService(
  { store, writer }: ControlDeps,
  reference: string,
  signal?: AbortSignal,
): Promise<void> {
  const { id } = find(store, 'service', reference);
  await writer.write([removeAction('service', id)], signal).catch((error: unknown) => {
    throw error instanceof ShoalError && error.code === 'not-found'
      ? notFound('service', reference)
      : error;
  });
}

/** The spec as it shall be stored: completed, judged, resolved. */
function judge(view: ReadView, given: ServiceSpec, ownId: string): ServiceSpec {
  const spec = completeServiceSpec(given);
  checkServiceSpec(spec);
  const resolved = resolveReferences(view, spec);
  checkPortConflicts(view, resolved, ownId);
  return resolved;
}

function checkUnchangeable(stored: ServiceSpec | undefined, spec: ServiceSpec): void {
  if (stored === undefined) return;
  if (spec.name !== stored.name) throw invalid('renaming services is not supported');
  if (spec.mode?.$case !== stored.mode?.$case) throw invalid('service mode change is not allowed');
}

/** Credentials are never shown, so a client that sends back what it read must not lose them. */
function withRegistryAuth(
  spec: ServiceSpec,
  stored: Service,
  { registryAuthFrom, rollback }: ServiceUpdateOptions,
): ServiceSpec {
  const { task } = spec;
  if (task?.container === undefined || task.container.registryAuth !== '') return spec;
  const sources = { '': stored.spec, spec: stored.spec, 'previous-spec': stored.previousSpec };
  if (!Object.hasOwn(sources, registryAuthFrom)) {
    throw invalid(
      `registryAuthFrom ${JSON.stringify(registryAuthFrom)} is unknown: expected spec or previous-spec`,
    );
  }
  const source = sources[registryAuthFrom as keyof typeof sources];
  if (source === undefined && !rollback) {
    throw precondition(`service ${stored.id} does not have a previous spec`);
  }
  const registryAuth = source?.task?.container?.registryAuth ?? '';
  if (registryAuth === '') return spec;
  return { ...spec, task: { ...task, container: { ...task.container, registryAuth } } };
}

/** Clients that do not know the field send back all but it: that says nothing about it. */
function withAutoscale(
  spec: ServiceSpec,
  stored: Service,
  { rollback, removeAutoscale }: ServiceUpdateOptions,
): ServiceSpec {
  const autoscale = stored.spec?.autoscale;
  if (autoscale === undefined || spec.autoscale !== undefined) return spec;
  return rollback || removeAutoscale ? spec : { ...spec, autoscale };
}

/** Ports and addresses it has stay: the allocator changes them where the new spec asks for it. */
function updatedService(
  stored: Service,
  { spec, declaredReplicas }: Counted,
  rollback: boolean,
  nowMs: number,
): Service {
  const before = stored.spec ?? ServiceSpec.fromPartial({});
  const replaces = replacesTasks(before, spec);
  return {
    ...stored,
    spec,
    declaredReplicas,
    // What is asked for again changes nothing, also not what a rollback would lead to.
    previousSpec: sameValue(before, spec) ? stored.previousSpec : before,
    specVersion: replaces ? stored.specVersion + 1 : stored.specVersion,
    updateStatus: replaces ? startedUpdate(rollback, nowMs) : undefined,
  };
}

function startedUpdate(rollback: boolean, nowMs: number): UpdateStatus {
  return {
    state: rollback ? 'rollback_started' : 'updating',
    startedAtMs: nowMs,
    completedAtMs: 0,
    message: rollback ? 'manually requested rollback' : 'update in progress',
  };
}
