import { ShoalError } from '../../shared/errors.ts';
import type {
  ConfigReference,
  FileTarget,
  NetworkAttachmentConfig,
  SecretReference,
  Service,
  ServiceSpec,
} from '../../shared/gen/shoal/v1/objects.ts';
import { metricName } from '../../shared/model/autoscale.ts';
import { effectiveAutoscale } from '../../shared/model/autoscale-labels.ts';
import { portKey } from '../../shared/model/port-key.ts';
import type { ReadView } from '../store/types.ts';
import { invalid, precondition, unimplemented } from './refuse.ts';

/**
 * The spec with every reference resolved against the cluster: networks to ids, secrets and configs
 * to id and name. Throws ShoalError `invalid-argument` for what does not exist or conflicts.
 */
export function resolveReferences(view: ReadView, spec: ServiceSpec): ServiceSpec {
  const { task } = spec;
  checkSourceSecrets(view, spec);
  if (task?.container === undefined) return spec;
  const secrets = resolveSecrets(view, task.container.secrets);
  const configs = resolveConfigs(view, task.container.configs);
  const networks = resolveNetworks(view, task.networks);
  return {
    ...spec,
    task: { ...task, networks, container: { ...task.container, secrets, configs } },
  };
}

// ---- networks -------------------------------------------------------------------------------

function resolveNetworks(
  view: ReadView,
  wanted: readonly NetworkAttachmentConfig[],
): NetworkAttachmentConfig[] {
  const seen = new Set<string>();
  return wanted.map((attachment) => {
    const target = networkId(view, attachment.target);
    if (seen.has(target)) {
      throw invalid(`TaskSpec: network ${attachment.target} is given twice`);
    }
    seen.add(target);
    if (Object.keys(attachment.driverOptions).length > 0) {
      throw unimplemented(
        `TaskSpec: driver options of network ${attachment.target} are not supported yet`,
      );
    }
    for (const alias of attachment.aliases) {
      if (!/^[a-zA-Z0-9_]([a-zA-Z0-9_.-]{0,251}[a-zA-Z0-9_])?$/.test(alias)) {
        throw invalid(
          `TaskSpec: alias ${JSON.stringify(alias)} on network ${attachment.target} is not a DNS name`,
        );
      }
    }
    return { ...attachment, target };
  });
}

function networkId(view: ReadView, target: string): string {
  if (target === 'host' || target === 'none') return target;
  if (target === 'bridge') {
    throw unimplemented(
      'TaskSpec: network bridge cannot be used by a service yet: use an overlay network, host or none',
    );
  }
  const network = view.get('network', target) ?? view.byName('network', target);
  if (target === '' || network === undefined) {
    throw new ShoalError('not-found', `network ${target} not found`);
  }
  if (network.spec?.ingress) {
    throw invalid(
      `Service cannot be explicitly attached to the ingress network ${JSON.stringify(network.spec.name)}`,
    );
  }
  return network.id;
}

// ---- secrets and configs --------------------------------------------------------------------

function resolveSecrets(view: ReadView, refs: readonly SecretReference[]): SecretReference[] {
  const resolved = refs.map((ref) => {
    const found = findFile(view, 'secret', ref.secretId, ref.secretName);
    const file = fileTarget('secret', ref.file, found.name);
    return { ...ref, secretId: found.id, secretName: found.name, file };
  });
  checkTargets('secret', resolved, ({ secretName }) => secretName);
  return resolved;
}

function resolveConfigs(view: ReadView, refs: readonly ConfigReference[]): ConfigReference[] {
  const resolved = refs.map((ref) => {
    const found = findFile(view, 'config', ref.configId, ref.configName);
    const file = fileTarget('config', ref.file, found.name);
    return { ...ref, configId: found.id, configName: found.name, file };
  });
  checkTargets('config', resolved, ({ configName }) => configName);
  return resolved;
}

function findFile(
  view: ReadView,
  kind: 'secret' | 'config',
  id: string,
  name: string,
): { id: string; name: string } {
  if (id === '' && name === '') throw invalid(`malformed ${kind} reference`);
  const found = id === '' ? view.byName(kind, name) : view.get(kind, id);
  const actual = found?.spec?.name ?? '';
  // Both given must mean the same: a secret made anew under its old name is another secret.
  if (found === undefined || (name !== '' && name !== actual)) {
    throw invalid(`${kind} not found: ${name || id}`);
  }
  return { id: found.id, name: actual };
}

/** Where the file goes; Docker's defaults are `/run/secrets/NAME` and `/NAME`, root's, mode 0444. */
function fileTarget(
  kind: 'secret' | 'config',
  file: FileTarget | undefined,
  name: string,
): FileTarget {
  if (file === undefined) return { name, uid: '0', gid: '0', mode: 0o444 };
  if (file.name === '' || file.name.split('/').includes('..') || file.name.includes('\0')) {
    throw invalid(`malformed file ${kind} reference, invalid ${kind} target name provided`);
  }
  for (const [field, value] of [
    ['uid', file.uid],
    ['gid', file.gid],
  ] as const) {
    if (value !== '' && !/^\d{1,10}$/.test(value)) {
      throw invalid(`${kind} ${name}: ${field} ${JSON.stringify(value)} is not a number`);
    }
  }
  if (file.mode > 0o7777) throw invalid(`${kind} ${name}: mode must be at most 7777 (octal)`);
  return file;
}

function checkTargets<R extends { file?: FileTarget | undefined }>(
  kind: 'secret' | 'config',
  refs: readonly R[],
  nameOf: (ref: R) => string,
): void {
  const owners = new Map<string, string>();
  for (const ref of refs) {
    const target = ref.file?.name ?? '';
    const owner = owners.get(target);
    if (owner !== undefined) {
      throw invalid(
        `${kind} references '${owner}' and '${nameOf(ref)}' have a conflicting target: '${target}'`,
      );
    }
    owners.set(target, nameOf(ref));
  }
}

/** Secrets are named by what a service is scaled by, and looked up at each reading: they must exist now. */
function checkSourceSecrets(view: ReadView, spec: ServiceSpec): void {
  for (const [secret, metric] of sourceSecrets(spec)) {
    if (view.byName('secret', secret) !== undefined) continue;
    throw invalid(`Autoscale: secret not found: ${secret}, which metric ${metric} is read with`);
  }
}

/** Names of the secrets that the sources of a scaled service are read with, each with a metric that needs it. */
export function sourceSecrets(spec: ServiceSpec): Map<string, string> {
  const names = new Map<string, string>();
  for (const metric of effectiveAutoscale(spec)?.metrics ?? []) {
    const { kind } = metric;
    if (kind === undefined || !('auth' in kind.value)) continue;
    const { username: _, ...secrets } = kind.value.auth ?? { username: '' };
    for (const name of Object.values(secrets)) {
      if (name !== '') names.set(name, metricName(metric));
    }
  }
  return names;
}

// ---- published ports ------------------------------------------------------------------------

/**
 * Refuses ports that another service has. An ingress port is open on every host, so nobody else can
 * have it; host-mode ports of two services only keep their tasks apart. Looks at all services.
 */
export function checkPortConflicts(view: ReadView, spec: ServiceSpec, ownId: string): void {
  const ports = spec.endpoint?.ports ?? [];
  if (ports.some(({ publishMode }) => publishMode === 'ingress') && !ingressExists(view)) {
    throw precondition('service needs ingress network, but no ingress network is present');
  }
  const wanted = new Map(
    ports.filter(({ publishedPort }) => publishedPort !== 0).map((port) => [portKey(port), port]),
  );
  if (wanted.size === 0) return;
  for (const other of view.all('service')) {
    if (other.id === ownId) continue;
    for (const theirs of portsOf(other)) {
      const mine = wanted.get(portKey(theirs));
      if (mine === undefined) continue;
      const shared = mine.publishMode === 'host' && theirs.publishMode === 'host';
      if (shared) continue;
      const how = theirs.publishMode === 'host' ? 'a host-published port' : 'an ingress port';
      throw invalid(
        `port '${mine.publishedPort}' is already in use by service '${other.spec?.name}' (${other.id}) as ${how}`,
      );
    }
  }
}

/** What it asks for and what it was given: dynamic ports are only in the latter. */
function portsOf(service: Service) {
  return [...(service.spec?.endpoint?.ports ?? []), ...(service.endpoint?.ports ?? [])].filter(
    ({ publishedPort }) => publishedPort !== 0,
  );
}

function ingressExists(view: ReadView): boolean {
  for (const network of view.all('network')) if (network.spec?.ingress) return true;
  return false;
}
