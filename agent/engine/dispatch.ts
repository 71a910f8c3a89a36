import { type Call, errorAnswer, HttpError, isTrue, json, type Reply } from './http.ts';
import { MarkedReads } from './reads.ts';
import { type Route, Router } from './router.ts';
import { splitVersion } from './version.ts';

/** A request as the socket gave it. */
export type RawRequest = Readonly<{
  method: string;
  /** Path and query as sent. */
  target: string;
  /** Lower-case names. */
  headers: Readonly<Record<string, string | undefined>>;
  body: () => AsyncIterable<Uint8Array>;
  signal: AbortSignal;
}>;

/** Answers a request; never throws. `error` is what led to an answer of 500 and above. */
export type Dispatch = (
  request: RawRequest,
) => Promise<Readonly<{ reply: Reply; error?: unknown }>>;

/** Larger than any spec: a secret of 500 KiB is 683 KiB of base64, a config twice that. */
export const JSON_MAX_BYTES = 4 * 1024 * 1024;

export function engineDispatch(routes: readonly Route[]): Dispatch {
  const router = new Router(routes);
  return async (request) => {
    try {
      return { reply: await answer(router, request) };
    } catch (error) {
      const { status, message } = errorAnswer(error);
      const reply = json({ message }, status);
      return status >= 500 && status !== 501 && status !== 503 ? { reply, error } : { reply };
    }
  };
}

async function answer(router: Router, request: RawRequest): Promise<Reply> {
  const mark = request.target.indexOf('?');
  const versioned = mark < 0 ? request.target : request.target.slice(0, mark);
  const { api, path } = splitVersion(versioned);
  const found = router.find(request.method, path);
  if (found === undefined) throw new HttpError(404, 'page not found');
  const optionalJson = () => readJson(request);
  const query = new URLSearchParams(mark < 0 ? '' : request.target.slice(mark + 1));
  const reads = new MarkedReads(isTrue(query.get('stale')));
  const call: Call = {
    method: request.method,
    path,
    params: found.params,
    query,
    headers: request.headers,
    api,
    optionalJson,
    json: async () => {
      const parsed = await optionalJson();
      if (parsed === undefined) {
        throw new HttpError(400, 'invalid JSON: got EOF while reading request body');
      }
      return parsed;
    },
    body: request.body,
    signal: request.signal,
    reads,
  };
  return reads.mark(await found.handler(call));
}

async function readJson(request: RawRequest): Promise<unknown> {
  const { headers } = request;
  const announced = Number(headers['content-length'] ?? '0');
  const hasBody = announced > 0 || headers['transfer-encoding'] !== undefined;
  const contentType = headers['content-type'] ?? '';
  if (contentType !== '' || hasBody) checkContentType(contentType);
  if (!hasBody) return undefined;
  if (announced > JSON_MAX_BYTES) throw tooLarge();
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of request.body()) {
    bytes += chunk.length;
    if (bytes > JSON_MAX_BYTES) throw tooLarge();
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString('utf8');
  return text.trim() === '' ? undefined : parseJson(text);
}

function checkContentType(contentType: string): void {
  if (/^application\/json\s*(;|$)/i.test(contentType)) return;
  throw new HttpError(
    400,
    `unsupported Content-Type header (${contentType}): must be 'application/json'`,
  );
}

function tooLarge(): HttpError {
  return new HttpError(413, `request body too large: at most ${JSON_MAX_BYTES} bytes of JSON`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    if (/after JSON/.test(reason)) {
      throw new HttpError(400, 'unexpected content after JSON', { cause });
    }
    throw new HttpError(400, `invalid JSON: ${reason}`, { cause });
  }
}
