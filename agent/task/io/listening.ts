import { readFile } from 'node:fs/promises';
import { hasListener, type Listens } from '../listening.ts';

/** A process that is gone listens to nothing; without IPv6 there is no second table. */
export const listens: Listens = async (pid, ports) => {
  for (const table of ['tcp', 'tcp6']) {
    const text = await readFile(`/proc/${pid}/net/${table}`, 'latin1').catch(() => '');
    if (hasListener(text, ports)) return true;
  }
  return false;
};
