import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import type { Random } from '../../shared/random.ts';
import type { Images } from '../image/types.ts';
import type { Runtime } from '../runtime/types.ts';
import type { HealthBook } from '../task/health-book.ts';
import type { Volumes } from '../volume/types.ts';
import type { ControlAccess } from './control-access.ts';
import type { EventBus } from './events.ts';
import type { HostFacts, Membership, ProcessTable } from './types.ts';

/** Everything the Engine API shows or changes. */
export type EngineDeps = Readonly<{
  membership: Membership;
  access: ControlAccess;
  images: Images;
  runtime: Runtime;
  volumes: Volumes;
  /** Of the containers here that have a health check. */
  health: Pick<HealthBook, 'of'>;
  events: EventBus;
  host: HostFacts;
  processes: ProcessTable;
  clock: Clock;
  random: Random;
  log: Log;
}>;
