import type { ServiceSpec } from '../gen/shoal/v1/objects.ts';

/** The count that a spec asks for, 1 where it says none; undefined: its mode has none. */
export function replicasOf(spec: Pick<ServiceSpec, 'mode'> | undefined): number | undefined {
  if (spec === undefined) return undefined;
  const { mode } = spec;
  return mode === undefined || mode.$case === 'replicated' ? (saidReplicas(spec) ?? 1) : undefined;
}

/** The same as far as it is said. */
export function saidReplicas({ mode }: Pick<ServiceSpec, 'mode'>): number | undefined {
  return mode?.$case === 'replicated' ? mode.value.replicas : undefined;
}

export function withReplicas(spec: ServiceSpec, replicas: number): ServiceSpec {
  return { ...spec, mode: { $case: 'replicated', value: { replicas } } };
}
