import type { Clock } from '../../shared/clock.ts';
import { Bell } from '../dispatcher/bell.ts';
import type { WatchableStore } from '../store/types.ts';
import type { Members } from './members.ts';

/** As Swarm's role manager: what could not be done is tried again after this. */
const RETRY_MS = 5_000;

/** A leader loop: keeps the members of consensus in line with the roles of the nodes. */
export async function runMembers(
  deps: Readonly<{ members: Members; store: WatchableStore; clock: Clock }>,
  signal: AbortSignal,
): Promise<void> {
  const { members, store, clock } = deps;
  const bell = new Bell();
  const unsubscribe = store.onCommit(({ changes }) => {
    const isRoleChange = changes.some(
      (change) =>
        change.table === 'node' &&
        (change.action === 'remove' || change.object.spec?.role !== change.previous?.spec?.role),
    );
    if (isRoleChange) bell.ring();
  });
  members.forget();
  try {
    while (!signal.aborted) {
      await members.sweep(signal);
      const timer = clock.after(RETRY_MS, () => bell.ring());
      await bell.heard(signal);
      timer.cancel();
    }
  } finally {
    unsubscribe();
  }
}
