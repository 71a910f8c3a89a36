import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';

const VARIABLE = 'SHOAL_PASSPHRASE';

/**
 * What a backup is sealed with: the first line of a file, the environment's SHOAL_PASSPHRASE, or what a
 * person types; `twice` has it typed again. Throws when there is none.
 */
export async function passphrase(file: string | undefined, twice: boolean): Promise<string> {
  const given =
    file === undefined ? process.env[VARIABLE] : (await readFile(file, 'utf8')).split('\n')[0];
  if (given !== undefined && given !== '') return given;
  if (file !== undefined) throw new Error(`${file} has no passphrase in its first line`);
  if (!process.stdin.isTTY) {
    throw new Error(`a passphrase is needed: --passphrase-file FILE, or ${VARIABLE}`);
  }
  const typed = await ask('Passphrase of the backup: ');
  if (typed === '') throw new Error('the passphrase must not be empty');
  if (twice && (await ask('Once more: ')) !== typed) throw new Error('that was another one');
  return typed;
}

/** Without showing what is typed. */
async function ask(question: string): Promise<string> {
  process.stderr.write(question);
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: silent, terminal: true });
  try {
    return await new Promise<string>((resolve) => lines.question('', resolve));
  } finally {
    lines.close();
    process.stderr.write('\n');
  }
}
