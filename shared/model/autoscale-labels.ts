import type { AutoscaleSpec } from '../gen/shoal/v1/autoscale.ts';
import type { ServiceSpec } from '../gen/shoal/v1/objects.ts';
import { parseSettings, type Settings } from './autoscale-settings.ts';

/** A service says in labels how it is scaled: `autoscale.max=20`. Labels are what stock clients carry. */
export const AUTOSCALE_PREFIX = 'autoscale.';

/** Labels of the scripts that people scale Swarm's services by. */
const ALIAS = 'swarm.autoscaler';
const ALIAS_SETTINGS: Readonly<Record<string, string>> = {
  [`${ALIAS}.minimum`]: 'min',
  [`${ALIAS}.maximum`]: 'max',
};
/** Those scripts add a task above 85 % and take one away below 25 %: no target is the same. */
const ALIAS_CPU = '70%';

type Labels = Readonly<Record<string, string>>;

export type LabelsResult =
  | Readonly<{ ok: true; spec: AutoscaleSpec; warnings: readonly string[] }>
  /** Each names its label. */
  | Readonly<{ ok: false; errors: readonly string[] }>;

/** What the labels say of scaling; undefined: nothing. Any `autoscale.*` switches it on, but for `autoscale.enable=false`. */
export function parseAutoscaleLabels(labels: Labels): LabelsResult | undefined {
  const own = Object.keys(labels).filter((label) => label.startsWith(AUTOSCALE_PREFIX));
  if (own.length > 0) {
    const pick = (label: string) => [label.slice(AUTOSCALE_PREFIX.length), labels[label] ?? ''];
    return read(Object.fromEntries(own.map(pick)), (key) => `${AUTOSCALE_PREFIX}${key}`, []);
  }
  if (labels[ALIAS] !== 'true') return undefined;
  const settings: Record<string, string> = { min: '1', cpu: ALIAS_CPU };
  for (const [label, key] of Object.entries(ALIAS_SETTINGS)) {
    const value = labels[label];
    if (value !== undefined) settings[key] = value;
  }
  const label = (key: string) =>
    Object.keys(ALIAS_SETTINGS).find((alias) => ALIAS_SETTINGS[alias] === key) ?? ALIAS;
  return read(settings, label, [
    `${ALIAS}=true is read as autoscale.cpu=${ALIAS_CPU}: the count follows the mean CPU of its tasks instead of going one up above 85 % and one down below 25 %; give autoscale.* labels to choose`,
  ]);
}

function read(
  settings: Settings,
  label: (key: string) => string,
  warnings: readonly string[],
): LabelsResult {
  const result = parseSettings(settings);
  if (result.ok) return { ok: true, spec: result.spec, warnings };
  return {
    ok: false,
    errors: result.errors.map(
      ({ key, message, meant }) =>
        `${label(key)} ${message}${meant === undefined ? '' : `: did you mean ${AUTOSCALE_PREFIX}${meant}?`}`,
    ),
  };
}

/** Stored objects are never changed, and each is asked about once a second: read once, remembered as long as it lives. */
const remembered = new WeakMap<Labels, AutoscaleSpec | undefined>();

function specInLabels(labels: Labels): AutoscaleSpec | undefined {
  if (remembered.has(labels)) return remembered.get(labels);
  const result = parseAutoscaleLabels(labels);
  const spec = result?.ok === true ? result.spec : undefined;
  remembered.set(labels, spec);
  return spec;
}

/**
 * How the service is scaled: as its spec says, else as its labels say; undefined: it is not, also when
 * that is switched off or the service has no replicas. Labels that say nothing sensible were refused when
 * the service was declared, and count as none here. Throws nothing.
 */
export function effectiveAutoscale(spec: ServiceSpec): AutoscaleSpec | undefined {
  if (spec.mode !== undefined && spec.mode.$case !== 'replicated') return undefined;
  const said = spec.autoscale ?? specInLabels(spec.labels);
  return said === undefined || said.mode === 'off' ? undefined : said;
}

/** Whether its count is the autoscaler's to choose: it is scaled, and not only told what it should be. */
export function followsLoad(spec: ServiceSpec): boolean {
  const scaled = effectiveAutoscale(spec);
  return scaled !== undefined && scaled.mode !== 'recommend';
}
