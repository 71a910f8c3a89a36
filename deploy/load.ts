/**
 * Loads the sources from their copy without types, in the main thread and in workers. A thread that strips types
 * itself keeps the stripper, 15 MiB; with Node's compile cache it keeps all that it read of the cache, 4 MiB, and
 * starts no faster. strip.ts writes this file beside the copy, in node_modules/.cache/shoal/sources.
 */
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';

const copy = new URL('.', import.meta.url);
const root = new URL('../../../..', import.meta.url).href;

registerHooks({
  load(url, context, next) {
    if (!url.startsWith(root) || !url.endsWith('.ts')) return next(url, context);
    const source = readFileSync(new URL(url.slice(root.length), copy), 'utf8');
    return { format: 'module', source, shortCircuit: true };
  },
});
