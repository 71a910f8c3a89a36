const LEAVE_MANAGER =
  'You are attempting to leave the swarm on a node that is participating as a manager. ';
const LAST_MANAGER =
  'Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message. ';
const FORCE_HINT =
  'The only way to restore a swarm that has lost consensus is to reinitialize it with `--force-new-cluster`. Use `--force` to suppress this message.';

/** Managers that the cluster counts as members, by whether they can be reached. */
export type ManagerCounts = Readonly<{ reachable: number; unreachable: number }>;

/** Whether those who are left could not decide any more, once a reachable one has gone without a word. */
function losesQuorum({ reachable, unreachable }: ManagerCounts): boolean {
  return reachable - 1 < Math.floor((reachable + unreachable) / 2) + 1;
}

/** Docker's words. `counts` is undefined when the cluster could not be asked. */
export function leaveRefusal(counts: ManagerCounts | undefined): string {
  if (counts === undefined || !losesQuorum(counts)) return LEAVE_MANAGER + FORCE_HINT;
  const { reachable, unreachable } = counts;
  const all = reachable + unreachable;
  if (all <= 1) return LEAVE_MANAGER + LAST_MANAGER;
  const left = `Removing this node leaves ${reachable - 1} managers out of ${all}. Without a Raft quorum your swarm will be inaccessible. `;
  return LEAVE_MANAGER + left + FORCE_HINT;
}
