import { ShoalError } from '../../../shared/errors.ts';

/**
 * The one value of an instant query's answer (Prometheus HTTP API, `/api/v1/query`): a scalar, or a vector of one
 * element; a vector without elements is 0. Throws ShoalError `failed-precondition` for everything else, with what the
 * server said when it refused the query.
 */
export function valueOfAnswer(answer: unknown): number {
  const body = fieldsOf(answer);
  if (body.status !== 'success') {
    const said = body.error;
    throw refused(
      typeof said === 'string' ? `the query failed: ${said}` : 'this is no answer of Prometheus',
    );
  }
  const data = fieldsOf(body.data);
  const result: unknown = data.result;
  if (data.resultType === 'scalar') return sampleValue(result);
  if (data.resultType !== 'vector' || !Array.isArray(result)) {
    throw refused(`the query gives a ${String(data.resultType)}: it must give one value`);
  }
  if (result.length === 0) return 0;
  if (result.length > 1) {
    throw refused(`the query gives ${result.length} series: it must give one, as sum() does`);
  }
  return sampleValue(fieldsOf(result[0]).value);
}

/** The path of an instant query, below the server's own: some are served under a prefix. */
export function queryPath(basePath: string, query: string, timeoutMs: number): string {
  const parameters = new URLSearchParams({ query, timeout: `${timeoutMs}ms` });
  return `${basePath.replace(/\/+$/, '')}/api/v1/query?${parameters}`;
}

/** `[time, "value"]`. */
function sampleValue(sample: unknown): number {
  const text: unknown = Array.isArray(sample) ? sample[1] : undefined;
  if (typeof text !== 'string' || text.trim() === '')
    throw refused('this is no answer of Prometheus');
  const value = Number(text);
  if (!Number.isFinite(value)) throw refused(`the query gives ${text}`);
  return value;
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function refused(message: string): ShoalError {
  return new ShoalError('failed-precondition', message);
}
