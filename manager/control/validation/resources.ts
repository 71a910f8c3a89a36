import type { ResourceRequirements, Resources } from '../../../shared/gen/shoal/v1/objects.ts';
import { MIB, NANO_CPUS_PER_CPU } from '../../../shared/model/units.ts';
import { invalid, unimplemented } from '../refuse.ts';

// Swarm's minima: below them the kernel's quota rounds to nothing and a container does not start.
const MIN_NANO_CPUS = 1_000_000;
const MIN_MEMORY_BYTES = 4 * MIB;

/** Limits and reservations; 0 means none. */
export function checkResources(requirements: ResourceRequirements | undefined): void {
  const { limits, reservations } = requirements ?? {};
  if (limits !== undefined) {
    checkAmounts(limits);
    if (limits.generic.length > 0) {
      throw invalid('TaskSpec: resources.limits.generic: generic resources can only be reserved');
    }
    if (limits.pids < 0) {
      throw invalid(`invalid pids limit ${limits.pids}: must be 0 (unlimited) or more`);
    }
  }
  if (reservations !== undefined) {
    checkAmounts(reservations);
    if (reservations.generic.length > 0) {
      throw unimplemented(
        'TaskSpec: resources.reservations.generic: generic resources are not supported yet',
      );
    }
    if (reservations.pids !== 0) {
      throw invalid('TaskSpec: resources.reservations.pids: pids can only be limited');
    }
  }
}

function checkAmounts({ nanoCpus, memoryBytes }: Resources): void {
  if (nanoCpus !== 0 && nanoCpus < MIN_NANO_CPUS) {
    throw invalid(`invalid cpu value ${nanoCpus / NANO_CPUS_PER_CPU}: Must be at least 0.001`);
  }
  if (memoryBytes !== 0 && memoryBytes < MIN_MEMORY_BYTES) {
    throw invalid(`invalid memory value ${memoryBytes}: Must be at least 4MiB`);
  }
}
