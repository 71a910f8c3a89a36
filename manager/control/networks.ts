import { ShoalError } from '../../shared/errors.ts';
import { type Network, type NetworkSpec, TaskState } from '../../shared/gen/shoal/v1/objects.ts';
import { newId } from '../../shared/ids.ts';
import { cidrsOverlap, formatCidr } from '../../shared/model/cidr.ts';
import { createAction, removeAction } from '../store/tables.ts';
import type { ReadView } from '../store/types.ts';
import type { ControlDeps } from './deps.ts';
import { find } from './find.ts';
import { precondition } from './refuse.ts';
import { checkNetworkSpec, completeNetworkSpec, subnetsOf } from './validation/network-spec.ts';

export async function createNetwork(
  { store, writer, random }: ControlDeps,
  given: NetworkSpec,
  signal?: AbortSignal,
): Promise<string> {
  const spec = completeNetworkSpec(given);
  checkNetworkSpec(spec);
  if (store.byName('network', spec.name) !== undefined) {
    throw new ShoalError('already-exists', `network with name ${spec.name} already exists`);
  }
  if (spec.ingress) checkNoIngress(store);
  checkOverlap(store, spec);
  const network: Network = {
    id: newId(random),
    meta: undefined,
    spec,
    vni: 0,
    ipam: [],
    allocationError: '',
  };
  await writer.write([createAction('network', network)], signal);
  return network.id;
}

export async function removeNetwork(
  { store, writer }: ControlDeps,
  reference: string,
  signal?: AbortSignal,
): Promise<void> {
  const network = find(store, 'network', reference);
  checkUnused(store, network);
  await writer.write([removeAction('network', network.id)], signal);
}

function checkNoIngress(view: ReadView): void {
  for (const network of view.all('network')) {
    if (network.spec?.ingress) {
      throw new ShoalError(
        'already-exists',
        `ingress network (${network.id}) is already present: remove it first`,
      );
    }
  }
}

/** Overlapping subnets would give two tasks one address on a host that has both networks. */
function checkOverlap(view: ReadView, spec: NetworkSpec): void {
  const wanted = subnetsOf(spec.ipam);
  if (wanted.length === 0) return;
  for (const other of view.all('network')) {
    for (const theirs of subnetsOf([...other.ipam, ...(other.spec?.ipam ?? [])])) {
      const mine = wanted.find((subnet) => cidrsOverlap(subnet, theirs));
      if (mine !== undefined) {
        throw precondition(
          `Pool overlaps with other one on this address space: ${formatCidr(mine)} overlaps with ${formatCidr(theirs)} of network ${other.spec?.name}`,
        );
      }
    }
  }
}

/** Tasks that were told to stop do not count: they let go of it by themselves. */
function checkUnused(view: ReadView, { id, spec: networkSpec }: Network): void {
  const name = networkSpec?.name ?? id;
  const isUser = ({ target }: { target: string }) => target === id;
  for (const { spec, id: serviceId } of view.all('service')) {
    if (networkSpec?.ingress && spec?.endpoint?.ports.some((p) => p.publishMode !== 'host')) {
      throw precondition(
        `ingress network cannot be removed because service ${spec.name} (${serviceId}) depends on it`,
      );
    }
    if (spec?.task?.networks.some(isUser)) {
      throw precondition(`network ${name} is in use by service ${spec.name}`);
    }
  }
  for (const task of view.all('task')) {
    const wanted = task.desiredState <= TaskState.RUNNING && view.get('service', task.serviceId);
    const live = (task.status?.state ?? 0) <= TaskState.RUNNING;
    if (wanted && live && task.spec?.networks.some(isUser)) {
      throw precondition(`network ${name} is in use by task ${task.id}`);
    }
  }
}
