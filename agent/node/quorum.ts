/** Managers that the cluster counts as members, by whether they can be reached. */
export type ManagerCounts = Readonly<{ reachable: number; unreachable: number }>;

/** Whether those who are left could not decide any more, once a reachable one has gone without a word. */
export function losesQuorum({ reachable, unreachable }: ManagerCounts): boolean {
  return reachable - 1 < Math.floor((reachable + unreachable) / 2) + 1;
}
