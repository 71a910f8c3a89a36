import type { Container, Runtime } from '../../runtime/types.ts';
import { HttpError } from '../http.ts';

/** By full id, exact name (with or without its slash), or unique id prefix. Throws HttpError 404 or 400. */
export async function findContainer(runtime: Runtime, nameOrId: string): Promise<Container> {
  const wanted = nameOrId.replace(/^\//, '');
  if (/^[0-9a-f]{64}$/.test(wanted)) {
    const found = await runtime.get(wanted);
    if (found !== undefined) return found;
  }
  const all = await runtime.list();
  const named = all.find(({ config }) => config.id === wanted || config.name === wanted);
  if (named !== undefined) return named;
  const [first, second] =
    wanted === '' ? [] : all.filter(({ config }) => config.id.startsWith(wanted));
  if (second !== undefined) {
    throw new HttpError(400, `multiple IDs found with provided prefix: ${wanted}`);
  }
  if (first === undefined) throw new HttpError(404, `No such container: ${nameOrId}`);
  return first;
}
