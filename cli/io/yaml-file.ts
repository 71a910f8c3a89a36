import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';

// Loaded when it is needed: most commands read no file.
const yaml = () => import('yaml');

/** A file of YAML (or JSON, which is YAML), `-` for standard input. Throws an Error that names the file. */
export async function yamlFile(path: string): Promise<unknown> {
  const content = path === '-' ? await text(process.stdin) : await readFile(path, 'utf8');
  const { parse } = await yaml();
  try {
    // Compose files share parts by <<.
    return parse(content, { merge: true });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`${path} cannot be read: ${reason}`, { cause: error });
  }
}

export async function yamlText(value: unknown): Promise<string> {
  const { stringify } = await yaml();
  return stringify(value);
}
