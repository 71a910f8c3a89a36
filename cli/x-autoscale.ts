/** The key of a compose file's service, or of its `deploy`, that says in a tree what labels say flat. */
const KEY = 'x-autoscale';

/** The settings that the tree says: `{down: {stabilize: 5m}}` is `down.stabilize`. Throws an Error that names the place. */
export function settingsOfTree(tree: unknown): Record<string, string> {
  const settings: Record<string, string> = {};
  const put = (key: string, value: string, path: string) => {
    if (Object.hasOwn(settings, key)) throw new Error(`${path}: ${key} is given twice`);
    settings[key] = value;
  };
  for (const [name, value] of entriesOf(tree, KEY)) {
    const key = kebab(name);
    const path = `${KEY}.${name}`;
    switch (key) {
      case 'metrics':
        listOf(value, path).forEach((metric, index) => {
          putMetric(put, metric, index, `${path}[${index}]`);
        });
        break;
      case 'schedules':
        listOf(value, path).forEach((schedule, index) => {
          putSchedule(put, schedule, index, `${path}[${index}]`);
        });
        break;
      case 'on-error':
        // Holding is what is done without a word about it.
        if (value !== 'hold') putLeaves(put, key, value, path);
        break;
      case 'warmup':
        putLeaves(put, key, isTree(value) ? { '': value.ignore } : value, path);
        break;
      default:
        putLeaves(put, key, value, path);
    }
  }
  return settings;
}

/** Compose file in, labels of each service that has the key out: by service, only those. */
export function labelsOfCompose(file: unknown): Record<string, Record<string, string>> {
  const services = isTree(file) ? file.services : undefined;
  const found: Record<string, Record<string, string>> = {};
  for (const [name, service] of entriesOf(services, 'services')) {
    if (!isTree(service)) continue;
    const deploy = isTree(service.deploy) ? service.deploy : {};
    const tree = service[KEY] ?? deploy[KEY];
    if (tree === undefined) continue;
    found[name] = Object.fromEntries(
      Object.entries(settingsOfTree(tree)).map(([key, value]) => [`autoscale.${key}`, value]),
    );
  }
  return found;
}

type Put = (key: string, value: string, path: string) => void;
type Tree = Readonly<Record<string, unknown>>;

/** These have leaves of their own; of other metrics one value says all. */
const SOURCES = ['redis-list', 'redis-stream', 'nats', 'prometheus', 'http'];
const TARGETS = ['target', 'cores', 'per-replica', 'average'];

function putMetric(put: Put, metric: unknown, index: number, path: string): void {
  const [only, ...more] = entriesOf(metric, path).filter(([key]) => key !== 'name');
  if (only === undefined || more.length > 0) throw new Error(`${path} must be of one kind`);
  const [kindName, value] = only;
  const kind = kebab(kindName);
  if (kind === 'schedule') putSchedule(put, value, index, path);
  else if (isTree(value)) putTarget(put, kind, value, isTree(metric) ? metric.name : '', path);
  else put(kind, leaf(value, path), path);
}

function putTarget(put: Put, kind: string, value: Tree, named: unknown, path: string): void {
  const { name = named, auth, ...own } = value;
  const leaves = { ...own, ...(isTree(auth) ? auth : {}) };
  const [first, ...rest] = Object.entries(leaves);
  if (!SOURCES.includes(kind) && first && rest.length === 0 && TARGETS.includes(kebab(first[0]))) {
    put(kind, leaf(first[1], path), path);
    return;
  }
  const of = name === undefined ? '' : leaf(name, path);
  putLeaves(put, of === '' ? kind : `${kind}.${of}`, leaves, path);
}

function putSchedule(put: Put, schedule: unknown, index: number, path: string): void {
  const { name = String(index + 1), ...leaves } = Object.fromEntries(entriesOf(schedule, path));
  putLeaves(put, `schedule.${leaf(name, path)}`, leaves, path);
}

function putLeaves(put: Put, key: string, value: unknown, path: string): void {
  if (kebab(key.split('.').at(-1) ?? '') === 'policies' && Array.isArray(value)) {
    put(key, value.map((policy) => policyText(policy, path)).join(','), path);
    return;
  }
  if (!isTree(value)) {
    put(key, leaf(value, path), path);
    return;
  }
  for (const [name, inner] of Object.entries(value)) {
    putLeaves(put, name === '' ? key : `${key}.${kebab(name)}`, inner, `${path}.${name}`);
  }
}

/** `{add: 4, per: 15s}`, `{percent: 100, per: 15s}`, or the words themselves. */
function policyText(policy: unknown, path: string): string {
  if (!isTree(policy)) return leaf(policy, path);
  const { per, percent, add, remove, tasks } = policy;
  const count = add ?? remove ?? tasks;
  if (per === undefined || (percent === undefined) === (count === undefined)) {
    throw new Error(`${path}: a policy is {add: 4, per: 15s} or {percent: 100, per: 15s}`);
  }
  const most = percent === undefined ? leaf(count, path) : leaf(percent, path).replace(/%?$/, '%');
  return `${most}/${leaf(per, path)}`;
}

function leaf(value: unknown, path: string): string {
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') {
    return String(value);
  }
  throw new Error(`${path} must be a word or a number`);
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function entriesOf(value: unknown, path: string): [string, unknown][] {
  if (!isTree(value)) throw new Error(`${path} must be a mapping`);
  return Object.entries(value);
}

function listOf(value: unknown, path: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new Error(`${path} must be a list`);
  return value;
}

const kebab = (name: string) =>
  name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`).replaceAll('_', '-');
