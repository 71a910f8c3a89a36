import { readFile } from 'node:fs/promises';
import { ShoalError } from '../../../shared/errors.ts';
import {
  type ForeignFilter,
  foreignChains,
  foreignWarnings,
  legacyPassCommands,
  legacyUnpassCommands,
  listCommand,
  passCommands,
  unpassCommands,
} from '../foreign.ts';
import { run } from './run.ts';
import { oneLine } from './shells.ts';

/** Names of the tables that iptables-legacy has in this namespace; nft does not see them. */
const LEGACY_TABLES = '/proc/self/net/ip_tables_names';

/** Lets our traffic pass the filters of other tools; gives what it cannot do. */
export async function passForeignFilters(): Promise<readonly string[]> {
  const filters = await foreignFilters();
  await nft(passCommands(filters));
  await legacy(legacyPassCommands);
  return foreignWarnings(filters);
}

export async function removeFromForeignFilters(): Promise<void> {
  await nft(unpassCommands(await foreignFilters()));
  await legacy(legacyUnpassCommands);
}

async function foreignFilters(): Promise<ForeignFilter[]> {
  const chains = foreignChains(await output('nft', ['-j', 'list', 'chains']));
  const filters: ForeignFilter[] = [];
  for (const chain of chains) {
    const command = listCommand(chain);
    if (command === undefined) continue;
    filters.push({ ...chain, text: await output('nft', ['-a', ...command.split(' ')]) });
  }
  return filters;
}

async function nft(commands: readonly string[]): Promise<void> {
  if (commands.length === 0) return;
  const { status, stderr } = await run('nft', ['-f', '-'], `${commands.join('\n')}\n`);
  if (status !== 0) throw new ShoalError('internal', `nft: ${oneLine(stderr)}`);
}

async function legacy(decide: (rules: string) => string[][]): Promise<void> {
  const tables = await readFile(LEGACY_TABLES, 'utf8').catch(() => '');
  if (!tables.split('\n').includes('filter')) return;
  // Another user of the lock is waited for, but not for ever.
  const wait = ['-w', '5'];
  for (const args of decide(await output('iptables-legacy', [...wait, '-S']))) {
    await output('iptables-legacy', [...wait, ...args]);
  }
}

async function output(command: string, args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await run(command, args);
  if (status !== 0) {
    throw new ShoalError('internal', `${command} ${args.join(' ')}: ${oneLine(stderr)}`);
  }
  return stdout;
}
