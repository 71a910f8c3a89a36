import { messageOf } from '../../../shared/errors.ts';
import { SIGHUP } from '../../../shared/model/signal.ts';
import { frame } from '../../../shared/stream-frames.ts';
import { startFailureCode } from '../../runtime/record.ts';
import type { ExecConfig, ExecProcess } from '../../runtime/types.ts';
import {
  type Codec,
  flag,
  int32,
  list,
  maybe,
  struct,
  text,
  texts,
  uint32,
  via,
} from '../codec.ts';
import { containerEvent } from '../container-events.ts';
import type { EngineDeps } from '../deps.ts';
import { type Exec, ExecTable } from '../exec-table.ts';
import {
  type Call,
  type Duplex,
  empty,
  HttpError,
  json,
  MULTIPLEXED_STREAM,
  RAW_STREAM,
  type Reply,
} from '../http.ts';
import type { Route } from '../router.ts';
import { findContainer } from './find-container.ts';

/** Docker's for a process that could not be started, whatever else the reason. */
const NOT_EXECUTABLE = 126;

/** Go's StrSlice: one string is a list of one. */
const command: Codec<string[]> = {
  decode: (value, path) => (typeof value === 'string' ? [value] : texts.decode(value, path)),
  encode: texts.encode,
};

type Size = { width: number; height: number } | undefined;
const consoleSize: Codec<Size> = via(
  maybe(list(uint32)),
  (pair) => (pair?.length === 2 ? { height: pair[0] ?? 0, width: pair[1] ?? 0 } : undefined),
  (size) => size && [size.height, size.width],
);

const execCreate = struct<ExecConfig & { detachKeys: string; size: Size }>({
  cmd: ['Cmd', command as Codec<readonly string[]>],
  env: ['Env', texts as Codec<readonly string[]>],
  workingDir: ['WorkingDir', text],
  user: ['User', text],
  tty: ['Tty', flag],
  attachStdin: ['AttachStdin', flag],
  attachStdout: ['AttachStdout', flag],
  attachStderr: ['AttachStderr', flag],
  privileged: ['Privileged', flag],
  detachKeys: ['DetachKeys', text],
  size: ['ConsoleSize', consoleSize],
});

const execStart = struct<{ detach: boolean; tty: boolean; size: Size }>({
  detach: ['Detach', flag],
  tty: ['Tty', flag],
  size: ['ConsoleSize', consoleSize],
});

export function execRoutes(deps: EngineDeps): Route[] {
  const execs = new ExecTable(deps.random);
  return [
    ['POST /containers/{id}/exec', (call) => create(deps, execs, call)],
    ['POST /exec/{id}/start', (call) => start(deps, execs, call)],
    ['POST /exec/{id}/resize', (call) => resize(execs, call)],
    ['GET /exec/{id}/json', ({ params }) => json(execJson(execs.get(params.id ?? '')))],
  ];
}

async function create(deps: EngineDeps, execs: ExecTable, call: Call): Promise<Reply> {
  const { detachKeys, size, ...config } = execCreate.decode(await call.json(), '');
  if (config.cmd.length === 0) throw new HttpError(400, 'no exec command specified');
  const container = await findContainer(deps.runtime, call.params.id ?? '');
  refuseUnlessRunning(container);
  const exec = execs.add(container.config.id, config, detachKeys);
  exec.size = size;
  const action = `exec_create: ${config.cmd.join(' ')}`;
  deps.events.publish(containerEvent(container.config, action, { execID: exec.id }));
  return json({ Id: exec.id }, 201);
}

function refuseUnlessRunning({ config, state }: Awaited<ReturnType<typeof findContainer>>): void {
  if (state.status === 'paused') {
    throw new HttpError(409, `container ${config.id} is paused, unpause the container before exec`);
  }
  if (state.status !== 'running') {
    throw new HttpError(409, `container ${config.id} is not running`);
  }
}

async function start(deps: EngineDeps, execs: ExecTable, call: Call): Promise<Reply> {
  const options = execStart.decode(await call.optionalJson(), '');
  const exec = execs.get(call.params.id ?? '');
  if (exec.state !== 'created') {
    throw new HttpError(409, `exec instance ${exec.id} has been started already`);
  }
  const container = await findContainer(deps.runtime, exec.containerId);
  refuseUnlessRunning(container);
  exec.state = 'starting';
  exec.size = options.size ?? exec.size;
  const action = `exec_start: ${exec.config.cmd.join(' ')}`;
  deps.events.publish(containerEvent(container.config, action, { execID: exec.id }));
  const ended = () =>
    deps.events.publish(
      containerEvent(container.config, 'exec_die', {
        execID: exec.id,
        exitCode: String(exec.exitCode ?? 0),
      }),
    );
  if (options.detach) {
    await begin(deps, exec);
    // Nobody reads it, but output that is not taken would stop the process.
    drain(exec)
      .catch((error: unknown) =>
        deps.log.warn('detached exec broke', { exec: exec.id, error: messageOf(error) }),
      )
      .finally(ended);
    return empty(200);
  }
  const isFramed = !exec.config.tty;
  return {
    kind: 'hijack',
    contentType: isFramed && call.api >= 42 ? MULTIPLEXED_STREAM : RAW_STREAM,
    run: async (duplex) => {
      try {
        await converse(deps, exec, duplex, call.signal);
      } finally {
        ended();
      }
    },
  };
}

/** Starts the process; on failure the exec has ended with a shell's code for it. */
async function begin(deps: EngineDeps, exec: Exec): Promise<ExecProcess> {
  const { containerId, config } = exec;
  let process: ExecProcess;
  try {
    process = await deps.runtime.exec(containerId, config, new AbortController().signal);
  } catch (error) {
    exec.state = 'ended';
    exec.exitCode = startFailureCode(messageOf(error), NOT_EXECUTABLE);
    throw error;
  }
  exec.process = process;
  exec.state = 'running';
  // A client without a terminal of its own says 0 by 0.
  if (config.tty && exec.size !== undefined && exec.size.width > 0) {
    // Not waited for: a short command may have ended before, and its output is what counts.
    process.resize(exec.size.width, exec.size.height).catch((error: unknown) => {
      deps.log.debug('exec not resized', { exec: exec.id, error: messageOf(error) });
    });
  }
  return process;
}

async function drain(exec: Exec): Promise<void> {
  const process = exec.process;
  if (process === undefined) return;
  for await (const _ of process.output());
  await finish(exec, process);
}

async function finish(exec: Exec, process: ExecProcess): Promise<void> {
  exec.exitCode = await process.wait();
  exec.state = 'ended';
}

/** Bytes both ways until the process has ended; its exit code is known before the connection closes. */
async function converse(
  deps: EngineDeps,
  exec: Exec,
  duplex: Duplex,
  signal: AbortSignal,
): Promise<void> {
  const { tty, attachStdin, attachStdout, attachStderr } = exec.config;
  const send = (stream: 1 | 2, data: Uint8Array) => duplex.write(tty ? data : frame(stream, data));
  let process: ExecProcess;
  try {
    process = await begin(deps, exec);
  } catch (error) {
    // The answer has begun; the CLI shows this text and takes the exit code from inspect.
    const reason = messageOf(error);
    const told = reason.startsWith('OCI runtime exec failed')
      ? reason
      : `OCI runtime exec failed: ${reason}`;
    await send(1, new TextEncoder().encode(`${told}\r\n`));
    return;
  }
  const input = attachStdin ? feed(process, duplex) : Promise.resolve();
  input.catch((error: unknown) =>
    deps.log.debug('stdin of an exec ended', { exec: exec.id, error: messageOf(error) }),
  );
  // A client that goes away takes its terminal with it; without a terminal the process goes on.
  const hangUp = () => {
    if (!tty) return;
    process
      .kill(SIGHUP)
      .catch((error: unknown) =>
        deps.log.debug('exec not hung up', { exec: exec.id, error: messageOf(error) }),
      );
  };
  signal.addEventListener('abort', hangUp, { once: true });
  try {
    for await (const { stream, data } of process.output()) {
      if (stream === 1 ? attachStdout : attachStderr) await send(stream, data);
    }
    await finish(exec, process);
  } finally {
    signal.removeEventListener('abort', hangUp);
    exec.state = 'ended';
  }
}

async function feed(process: ExecProcess, duplex: Duplex): Promise<void> {
  for await (const data of duplex.input()) await process.writeStdin(data);
  await process.closeStdin();
}

const size = struct<{ height: number; width: number }>({
  height: ['h', int32],
  width: ['w', int32],
});

async function resize(execs: ExecTable, call: Call): Promise<Reply> {
  const exec = execs.get(call.params.id ?? '');
  const wanted = size.decode(
    { h: Number(call.query.get('h')), w: Number(call.query.get('w')) },
    'query',
  );
  exec.size = wanted;
  // The CLI sends the size beside the start: what comes too early is kept for it.
  if (exec.state === 'running') await exec.process?.resize(wanted.width, wanted.height);
  return empty(200);
}

function execJson(exec: Exec) {
  const [entrypoint = '', ...args] = exec.config.cmd;
  return {
    ID: exec.id,
    Running: exec.state === 'running',
    ExitCode: exec.exitCode ?? null,
    ProcessConfig: {
      tty: exec.config.tty,
      entrypoint,
      arguments: args,
      privileged: exec.config.privileged,
      ...(exec.config.user !== '' && { user: exec.config.user }),
    },
    OpenStdin: exec.config.attachStdin,
    OpenStderr: exec.config.attachStderr,
    OpenStdout: exec.config.attachStdout,
    CanRemove: exec.state === 'ended',
    ContainerID: exec.containerId,
    DetachKeys: exec.detachKeys,
    Pid: exec.process?.pid ?? 0,
  };
}
