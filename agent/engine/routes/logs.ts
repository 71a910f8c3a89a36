import type { LogMessage } from '../../../shared/gen/shoal/v1/logs.ts';
import { frame } from '../../../shared/stream-frames.ts';
import type { LogLine, LogQuery } from '../../runtime/types.ts';
import type { EngineDeps } from '../deps.ts';
import {
  type Call,
  HttpError,
  isTrue,
  MULTIPLEXED_STREAM,
  RAW_STREAM,
  type Reply,
  rpcError,
} from '../http.ts';
import { LineJoiner } from '../log-lines.ts';
import type { Route } from '../router.ts';
import { parseTime } from '../times.ts';
import { findContainer } from './find-container.ts';

export function logRoutes(deps: EngineDeps): Route[] {
  return [
    ['GET /containers/{id}/logs', (call) => containerLogs(deps, call)],
    ['GET /services/{id}/logs', (call) => clusterLogs(deps, call, 'service')],
    ['GET /tasks/{id}/logs', (call) => clusterLogs(deps, call, 'task')],
  ];
}

type LogOptions = LogQuery & Readonly<{ timestamps: boolean; details: boolean }>;

function optionsOf(call: Call, nowMs: number): LogOptions {
  const flag = (name: string) => isTrue(call.query.get(name));
  const stdout = flag('stdout');
  const stderr = flag('stderr');
  if (!stdout && !stderr) {
    throw new HttpError(400, 'Bad parameters: you must choose at least one stream');
  }
  const tail = call.query.get('tail') ?? 'all';
  return {
    stdout,
    stderr,
    follow: flag('follow'),
    tail: /^\d+$/.test(tail) ? Number(tail) : -1, // words that are no number mean all, as in Docker
    sinceMs: parseTime('since', call.query.get('since'), nowMs) ?? 0,
    untilMs: parseTime('until', call.query.get('until'), nowMs) ?? 0,
    timestamps: flag('timestamps'),
    details: flag('details'),
  };
}

function answer(call: Call, tty: boolean, chunks: AsyncIterable<Uint8Array>): Reply {
  const contentType = !tty && call.api >= 42 ? MULTIPLEXED_STREAM : RAW_STREAM;
  return { kind: 'stream', status: 200, contentType, chunks };
}

async function containerLogs(deps: EngineDeps, call: Call): Promise<Reply> {
  const options = optionsOf(call, deps.clock.now());
  const { config } = await findContainer(deps.runtime, call.params.id ?? '');
  const lines = deps.runtime.logs(config.id, options, call.signal);
  return answer(call, config.tty, containerChunks(lines, options, config.tty));
}

async function* containerChunks(
  lines: AsyncIterable<LogLine>,
  options: LogOptions,
  tty: boolean,
): AsyncGenerator<Uint8Array> {
  let continues = false;
  for await (const line of lines) {
    // Time and details stand at the head of a line, not of each part of a long one.
    const head = continues
      ? ''
      : `${options.timestamps ? `${line.at} ` : ''}${options.details ? ' ' : ''}`;
    const payload = withText(head, line.data, line.partial ? '' : '\n');
    continues = line.partial;
    yield tty ? payload : frame(line.stream, payload);
  }
}

async function clusterLogs(deps: EngineDeps, call: Call, kind: 'service' | 'task'): Promise<Reply> {
  const options = optionsOf(call, deps.clock.now());
  const control = deps.access.control();
  const found = await control.get(kind, call.params.id ?? '', call.signal);
  const spec = 'serviceId' in found ? found.spec : found.spec?.task;
  const tty = spec?.container?.tty ?? false;
  const selector =
    kind === 'service'
      ? { serviceIds: [found.id], taskIds: [] }
      : { serviceIds: [], taskIds: [found.id] };
  const messages = control.serviceLogs(
    {
      id: '',
      selector,
      options: {
        stdout: options.stdout,
        stderr: options.stderr,
        follow: options.follow,
        tail: options.tail,
        sinceNs: Math.round(options.sinceMs * 1e6),
      },
    },
    call.signal,
  );
  return answer(call, tty, clusterChunks(messages, options, tty, call.signal));
}

async function* clusterChunks(
  messages: AsyncIterable<LogMessage>,
  options: LogOptions,
  tty: boolean,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const chunkOf = (message: LogMessage) => {
    const time = options.timestamps ? `${message.at} ` : '';
    const details = options.details ? `${messageDetails(message)} ` : '';
    const payload = withText(`${time}${details}`, message.data, message.partial ? '' : '\n');
    return tty ? payload : frame(message.stream === 2 ? 2 : 1, payload);
  };
  const joiner = new LineJoiner();
  try {
    for await (const message of messages) {
      const line = joiner.push(message);
      if (line !== undefined) yield chunkOf(line);
    }
    for (const line of joiner.rest()) yield chunkOf(line);
  } catch (error) {
    if (signal.aborted) return;
    // The answer has begun: an error can only be told inside it. Stream 3 is the server's own voice.
    const told = rpcError(error);
    yield frame(
      3,
      withText('', new Uint8Array(), `${told instanceof Error ? told.message : told}\n`),
    );
  }
}

/** Where a line comes from, as the CLI cuts it off again; without it the CLI gives up. */
export function messageDetails(message: LogMessage): string {
  return [
    `com.docker.swarm.node.id=${encodeURIComponent(message.nodeId)}`,
    `com.docker.swarm.service.id=${encodeURIComponent(message.serviceId)}`,
    `com.docker.swarm.task.id=${encodeURIComponent(message.taskId)}`,
  ].join(',');
}

const encoder = new TextEncoder();

function withText(head: string, data: Uint8Array, tail: string): Uint8Array {
  if (head === '' && tail === '') return data;
  const before = encoder.encode(head);
  const after = encoder.encode(tail);
  const all = new Uint8Array(before.length + data.length + after.length);
  all.set(before);
  all.set(data, before.length);
  all.set(after, before.length + data.length);
  return all;
}
