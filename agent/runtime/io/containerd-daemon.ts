import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf, ShoalError } from '../../../shared/errors.ts';
import { VersionService } from '../../../shared/gen/containerd/version.ts';
import { ContainerdClient } from './containerd.ts';

export type ContainerdPaths = Readonly<{
  /** On disk: images, snapshots, records. */
  root: string;
  /** On a tmpfs, or it would speak of tasks from before a reboot: running tasks. */
  state: string;
  /** Path of the socket. */
  address: string;
}>;

// Each would cost memory and start-up time, or needs a tool that is not there.
const DISABLED_PLUGINS = [
  'io.containerd.grpc.v1.cri',
  'io.containerd.snapshotter.v1.aufs',
  'io.containerd.snapshotter.v1.btrfs',
  'io.containerd.snapshotter.v1.devmapper',
  'io.containerd.snapshotter.v1.zfs',
  'io.containerd.internal.v1.opt',
  'io.containerd.internal.v1.tracing',
  'io.containerd.tracing.processor.v1.otlp',
];

/**
 * Prepares a private containerd (its folders and configuration) and says how to start it. It is to be
 * started in a session of its own, so that it and its containers outlive whoever started it.
 */
export function containerdCommand(paths: ContainerdPaths): {
  argv: string[];
  env: Record<string, string>;
} {
  for (const folder of [paths.root, paths.state, dirname(paths.address)]) {
    mkdirSync(folder, { recursive: true, mode: 0o711 });
  }
  const text = [
    'version = 2',
    `root = ${JSON.stringify(paths.root)}`,
    `state = ${JSON.stringify(paths.state)}`,
    `disabled_plugins = ${JSON.stringify(DISABLED_PLUGINS)}`,
    '[grpc]',
    `  address = ${JSON.stringify(paths.address)}`,
    '[debug]',
    '  level = "warn"',
    '',
  ].join('\n');
  const config = join(paths.root, 'config.toml');
  writeFileSync(`${config}.new`, text, { mode: 0o600 });
  renameSync(`${config}.new`, config);
  return {
    argv: ['containerd', '--config', config],
    env: {
      // The shim finds runc, and containerd the shim, through PATH; Debian has runc in /usr/sbin.
      PATH: `${process.env.PATH ?? '/usr/bin:/bin'}:/usr/local/sbin:/usr/sbin:/sbin`,
      // As its shims have it: 1.8 MiB less after an image's import, 2.8 with 50 containers.
      GOGC: process.env.GOGC ?? '40',
    },
  };
}

/** Resolves with containerd's version once it serves. Throws `unavailable` when the signal aborts first. */
export async function waitReady(address: string, signal: AbortSignal): Promise<string> {
  let last: unknown;
  while (!signal.aborted) {
    // A connection is tried first: grpc-js backs off for longer than containerd takes to start (30 ms).
    if (await accepts(address)) {
      const client = new ContainerdClient({ address, namespace: 'default' });
      try {
        const reply = await client.call(VersionService.version, {}, { deadlineMs: 1_000, signal });
        return reply.version;
      } catch (error) {
        last = error;
      } finally {
        client.close();
      }
    }
    await delay(20);
  }
  throw new ShoalError(
    'unavailable',
    `containerd at ${address} is not ready: ${last === undefined ? 'nothing listens there' : messageOf(last)}`,
    { cause: signal.reason },
  );
}

function accepts(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(address);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
