import { sleep } from '../../../shared/clock.ts';
import type { Container, ContainerStats } from '../../runtime/types.ts';
import type { EngineDeps } from '../deps.ts';
import { type Call, isTrue, json, type Reply } from '../http.ts';
import { statsJson } from '../json/stats.ts';
import type { Route } from '../router.ts';
import { findContainer } from './find-container.ts';

const SAMPLE_MS = 1000;

export function statsRoutes(deps: EngineDeps): Route[] {
  return [['GET /containers/{id}/stats', (call) => stats(deps, call)]];
}

async function stats(deps: EngineDeps, call: Call): Promise<Reply> {
  const container = await findContainer(deps.runtime, call.params.id ?? '');
  const stream = call.query.get('stream');
  if (stream === null || isTrue(stream)) {
    return {
      kind: 'stream',
      status: 200,
      contentType: 'application/json',
      chunks: samples(deps, container, call.signal),
    };
  }
  const { config } = container;
  const first = await sample(deps, config.id);
  if (first === undefined || isTrue(call.query.get('one-shot'))) {
    return json(statsJson(config, first, undefined));
  }
  // A share of the CPU needs two readings.
  await sleep(deps.clock, SAMPLE_MS, call.signal);
  return json(statsJson(config, (await sample(deps, config.id)) ?? first, first));
}

function sample(deps: EngineDeps, id: string): Promise<ContainerStats | undefined> {
  return deps.runtime.stats(id);
}

async function* samples(
  deps: EngineDeps,
  { config }: Container,
  signal: AbortSignal,
): AsyncGenerator<string> {
  let before: ContainerStats | undefined;
  while (!signal.aborted) {
    // A container that was removed meanwhile ends the stream; one that only stopped shows zeros.
    if (before !== undefined && (await deps.runtime.get(config.id)) === undefined) return;
    const now = await sample(deps, config.id);
    yield `${JSON.stringify(statsJson(config, now, before))}\n`;
    before = now ?? before;
    const aborted = await sleep(deps.clock, SAMPLE_MS, signal).then(
      () => false,
      () => true,
    );
    if (aborted) return;
  }
}
