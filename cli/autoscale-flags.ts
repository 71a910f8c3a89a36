import { readFlagList } from './flag-list.ts';

/** Flags of `service autoscale` that say one setting each; their names are the settings' with dashes for dots. */
export const SETTING_FLAGS = {
  min: 'min',
  max: 'max',
  mode: 'mode',
  cpu: 'cpu',
  memory: 'memory',
  pids: 'pids',
  requests: 'requests',
  connections: 'connections',
  tolerance: 'tolerance',
  warmup: 'warmup',
  'up-stabilize': 'up.stabilize',
  'up-policies': 'up.policies',
  'up-select': 'up.select',
  'down-stabilize': 'down.stabilize',
  'down-policies': 'down.policies',
  'down-select': 'down.select',
  'fast-window': 'fast.window',
  'fast-threshold': 'fast.threshold',
  'cooldown-to-zero': 'cooldown-to-zero',
} as const;

/** Sources outside the cluster: several settings each, as `address=redis:6379,key=jobs,per-replica=5`. */
export const SOURCE_FLAGS = ['redis-list', 'redis-stream', 'nats', 'prometheus', 'http'] as const;

export type AutoscaleFlags = Readonly<
  Partial<Record<keyof typeof SETTING_FLAGS, string>> &
    Partial<Record<(typeof SOURCE_FLAGS)[number], readonly string[]>> & {
      network?: readonly string[];
      set?: readonly string[];
      unset?: readonly string[];
      off?: boolean;
    }
>;

/** The body of `POST /services/{id}/autoscale`. */
export type SettingsChange = Readonly<{
  Set: Readonly<Record<string, string>>;
  Unset: readonly string[];
}>;

/** What the flags change; undefined: nothing. Throws an Error that names the flag. Values are judged by the manager. */
export function settingsChange(flags: AutoscaleFlags): SettingsChange | undefined {
  const changed: Record<string, string> = {};
  for (const [flag, key] of Object.entries(SETTING_FLAGS)) {
    const value = flags[flag as keyof typeof SETTING_FLAGS];
    if (value !== undefined) changed[key] = value;
  }
  const network = flags.network?.at(-1);
  if (network !== undefined) changed.network = network;
  for (const kind of SOURCE_FLAGS) {
    for (const text of flags[kind] ?? []) {
      const { name = '', ...leaves } = readFlagList(kind, text);
      const at = name === '' ? kind : `${kind}.${name}`;
      for (const [leaf, value] of Object.entries(leaves)) {
        if (Object.hasOwn(changed, `${at}.${leaf}`)) {
          throw new Error(`--${kind}: ${leaf} is given twice: tell several apart by name=...`);
        }
        changed[`${at}.${leaf}`] = value;
      }
    }
  }
  for (const pair of flags.set ?? []) {
    const [, key, value] = /^(?:autoscale\.)?([^=]+)=(.*)$/s.exec(pair) ?? [];
    if (key === undefined || value === undefined) {
      throw new Error(`--set is KEY=VALUE, like up.stabilize=30s, not "${pair}"`);
    }
    changed[key] = value;
  }
  if (flags.off === true) changed.mode = 'off';
  const unset = (flags.unset ?? []).map((key) => key.replace(/^autoscale\./, ''));
  if (Object.keys(changed).length === 0 && unset.length === 0) return undefined;
  return { Set: changed, Unset: unset };
}
