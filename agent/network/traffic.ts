import type { AttachedTask } from './facts.ts';
import { type Held, heldAddresses, heldPorts } from './held.ts';
import type { Counters, Kernel, Namespace } from './kernel.ts';
import { HOST_TABLE, NETWORK_TABLE, networkNamespace } from './names.ts';
import { COUNTED, KNOCKS } from './traffic-rules.ts';
import type { Knocking, TaskTraffic } from './types.ts';
import type { NetworkSlice } from './view.ts';

/** Where something of ours is counted. */
type Place = Readonly<{ namespace: Namespace; table: string }>;

const HOST: Place = { namespace: undefined, table: HOST_TABLE };

/** Reads what the rules of `traffic-rules.ts` counted: one call for each namespace that has something to tell. */
export class TrafficReader {
  readonly #kernel: Pick<Kernel, 'counters'>;

  constructor(kernel: Pick<Kernel, 'counters'>) {
    this.#kernel = kernel;
  }

  /**
   * Totals by task, over all its networks. A task of which one network cannot be read is left out: half a total would
   * look like a counter that went back.
   */
  async ofTasks(tasks: readonly AttachedTask[]): Promise<Map<string, TaskTraffic>> {
    const networks = new Set(
      tasks.flatMap(({ addresses, task }) =>
        addresses.map(({ networkId }) => placeKey(task.attachments, networkId)),
      ),
    );
    const read = new Map<string, ReadonlyMap<string, Counters> | undefined>();
    await Promise.all(
      [...networks].map(async (key) => read.set(key, await this.#read(placeOf(key), COUNTED))),
    );
    const totals = new Map<string, TaskTraffic>();
    for (const { task, addresses } of tasks) {
      const total = { requests: 0, replies: 0, connections: 0 };
      const whole = addresses.every(({ networkId, address }) => {
        const counters = read.get(placeKey(task.attachments, networkId));
        return COUNTED.every((name) => {
          const count = counters?.get(name)?.get(address);
          total[name] += count ?? 0;
          return count !== undefined;
        });
      });
      if (whole && addresses.length > 0) totals.set(task.taskId, total);
    }
    return totals;
  }

  /** Whether something is held, on any network. */
  isHolding(slices: readonly NetworkSlice[]): boolean {
    return slices.some((slice) => heldAddresses(slice).size > 0 || heldPorts(slice).size > 0);
  }

  /** Totals of tries, by place and element, with the service that each is for. */
  async knocks(
    slices: readonly NetworkSlice[],
    used: ReadonlySet<string>,
  ): Promise<readonly Knocking[]> {
    const found = await Promise.all(
      heldPlaces(slices, used).map(async ({ place, held }) => {
        const counters = (await this.#read(place, [KNOCKS]))?.get(KNOCKS);
        return [...held].flatMap(([element, serviceId]) => {
          const total = counters?.get(element);
          const key = `${place.namespace ?? ''} ${element}`;
          return total === undefined ? [] : [{ key, serviceId, total }];
        });
      }),
    );
    return found.flat();
  }

  async #read(
    { namespace, table }: Place,
    sets: readonly string[],
  ): Promise<ReadonlyMap<string, Counters> | undefined> {
    try {
      return await this.#kernel.counters(namespace, table, sets);
    } catch {
      // A namespace that is being made or unmade. What was not read is absent, and the next reading tells all.
      return undefined;
    }
  }
}

/**
 * Published ports can be tried on every host; a network's addresses only from its own tasks, `used` being the
 * networks that have some here.
 */
function heldPlaces(
  slices: readonly NetworkSlice[],
  used: ReadonlySet<string>,
): { place: Place; held: Held }[] {
  const places: { place: Place; held: Held }[] = [];
  for (const slice of slices) {
    const { network } = slice;
    if (network.spec?.ingress === true) {
      const held = heldPorts(slice);
      if (held.size > 0) places.push({ place: HOST, held });
    }
    if (!used.has(network.id)) continue;
    const held = heldAddresses(slice);
    if (held.size > 0) places.push({ place: placeOf(network.id), held });
  }
  return places;
}

/** A container without networks is linked to the host itself. */
function placeKey(attachments: AttachedTask['task']['attachments'], networkId: string): string {
  return attachments.length === 0 ? '' : networkId;
}

function placeOf(key: string): Place {
  return key === '' ? HOST : { namespace: networkNamespace(key), table: NETWORK_TABLE };
}
