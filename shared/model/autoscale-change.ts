import type { AutoscaleSpec } from '../gen/shoal/v1/autoscale.ts';
import type { Settings } from './autoscale-settings.ts';
import { settingsOf } from './autoscale-settings-of.ts';

/**
 * The settings of a spec with some of them changed. What is unset goes with everything below it
 * (`redis-list.mails`, `up`; `*` is everything); a spec that was off is on again unless `mode` is among what is set.
 */
export function changedSettings(
  spec: AutoscaleSpec | undefined,
  set: Settings,
  unset: readonly string[],
): Record<string, string> {
  const settings = spec === undefined ? {} : settingsOf(spec);
  if (unset.includes('*')) return { ...set };
  if (settings.mode === 'off') delete settings.mode;
  // Both ways at once replace each of them.
  const gone = Object.hasOwn(set, 'tolerance') ? [...unset, 'tolerance'] : unset;
  for (const key of Object.keys(settings)) {
    if (gone.some((prefix) => key === prefix || key.startsWith(`${prefix}.`))) delete settings[key];
  }
  return { ...settings, ...set };
}
