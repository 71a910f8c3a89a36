import { ShoalError } from '../../shared/errors.ts';
import type { Config, ConfigSpec, Secret, SecretSpec } from '../../shared/gen/shoal/v1/objects.ts';
import { newId } from '../../shared/ids.ts';
import { sameValue } from '../../shared/model/equal.ts';
import { checkLabels } from '../../shared/model/labels.ts';
import { KIB } from '../../shared/model/units.ts';
import { createAction, removeAction, updateAction } from '../store/tables.ts';
import { nameConflict } from '../store/transaction.ts';
import type { ReadView } from '../store/types.ts';
import type { ControlDeps } from './deps.ts';
import { find } from './find.ts';
import { sourceSecrets } from './references.ts';
import { invalid, outOfSequence, unimplemented } from './refuse.ts';
import { checkFileName } from './validation/names.ts';

/** Secrets and configs: named bytes that never change. */
export type FileKind = 'secret' | 'config';
type FileSpec = SecretSpec | ConfigSpec;

/** Swarm's limits, exclusive. A config of this size still fits into one entry and one snapshot chunk. */
const MAX_DATA_BYTES = { secret: 500 * KIB, config: 1000 * KIB } as const;

export async function createFile(
  { store, writer, random }: Pick<ControlDeps, 'store' | 'writer' | 'random'>,
  kind: FileKind,
  spec: FileSpec,
  signal?: AbortSignal,
): Promise<string> {
  checkFileSpec(kind, spec);
  if (store.byName(kind, spec.name) !== undefined) {
    throw new ShoalError('already-exists', nameConflict(kind, spec.name));
  }
  const id = newId(random);
  const file: Secret | Config = { id, meta: undefined, spec };
  await writer.write([createAction(kind, file)], signal);
  return id;
}

/** Labels only: what a running task has mounted must not differ from what the name means now. */
export async function updateFile(
  { store, writer }: ControlDeps,
  kind: FileKind,
  reference: string,
  version: number,
  given: FileSpec,
  signal?: AbortSignal,
): Promise<string> {
  const stored = find(store, kind, reference);
  if (stored.meta?.version !== version) throw outOfSequence();
  const { spec } = stored;
  const sameData = given.data.length === 0 || sameValue(given.data, spec?.data);
  if (given.name !== spec?.name || given.templating !== spec.templating || !sameData) {
    throw invalid('only updates to Labels are allowed');
  }
  checkLabels('labels', given.labels);
  const updated = { ...stored, spec: { ...spec, labels: given.labels } };
  await writer.write([updateAction(kind, updated)], signal);
  return stored.id;
}

export async function removeFile(
  { store, writer }: ControlDeps,
  kind: FileKind,
  reference: string,
  signal?: AbortSignal,
): Promise<void> {
  const { id, spec } = find(store, kind, reference);
  const users = servicesUsing(store, kind, id, spec?.name ?? '');
  if (users.length > 0) {
    const services = users.length === 1 ? 'service' : 'services';
    throw invalid(
      `${kind} '${spec?.name}' is in use by the following ${services}: ${users.join(', ')}`,
    );
  }
  await writer.write([removeAction(kind, id)], signal);
}

function checkFileSpec(kind: FileKind, spec: FileSpec): void {
  checkFileName(spec.name);
  checkLabels('labels', spec.labels);
  const max = MAX_DATA_BYTES[kind];
  if (spec.data.length === 0 || spec.data.length >= max) {
    throw invalid(`${kind} data must be larger than 0 and less than ${max} bytes`);
  }
  if (spec.templating !== '') {
    throw unimplemented(
      `${kind}: templating ${JSON.stringify(spec.templating)} is not supported yet: leave it out`,
    );
  }
}

function servicesUsing(view: ReadView, kind: FileKind, id: string, name: string): string[] {
  const names: string[] = [];
  for (const { spec } of view.all('service')) {
    const container = spec?.task?.container;
    const uses =
      kind === 'secret'
        ? container?.secrets.some(({ secretId }) => secretId === id) ||
          (spec !== undefined && sourceSecrets(spec).has(name))
        : container?.configs.some(({ configId }) => configId === id);
    if (uses) names.push(spec?.name ?? '');
  }
  return names.sort();
}
