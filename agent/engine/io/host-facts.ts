import { execFile } from 'node:child_process';
import { readFile, statfs } from 'node:fs/promises';
import { cpus, machine, release, totalmem } from 'node:os';
import { promisify } from 'node:util';
import type { HostFacts } from '../types.ts';

const CGROUP2_MAGIC = 0x63677270; // linux/magic.h

/** Reads once what `docker info` and `docker version` show of this host. */
export async function hostFacts(
  known: Readonly<{
    hostname: string;
    stateDirectory: string;
    containerdVersion: string;
    shoalVersion: string;
  }>,
): Promise<HostFacts> {
  const release_ = await osRelease();
  return {
    ...known,
    kernelVersion: release(),
    operatingSystem: release_.get('PRETTY_NAME') ?? 'Linux',
    osVersion: release_.get('VERSION_ID') ?? '',
    machine: machine(),
    architecture: { x86_64: 'amd64', aarch64: 'arm64' }[machine()] ?? machine(),
    cpus: cpus().length,
    memoryBytes: totalmem(),
    cgroupVersion: (await statfs('/sys/fs/cgroup')).type === CGROUP2_MAGIC ? 2 : 1,
    runcVersion: await runcVersion(),
  };
}

async function osRelease(): Promise<ReadonlyMap<string, string>> {
  const text = await readFile('/etc/os-release', 'utf8').catch(() => '');
  return new Map(
    text.split('\n').flatMap((line) => {
      const match = /^(\w+)="?([^"]*)"?$/.exec(line);
      return match?.[1] === undefined ? [] : [[match[1], match[2] ?? ''] as const];
    }),
  );
}

async function runcVersion(): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)('runc', ['--version'], {
      env: { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` },
    });
    return /runc version (\S+)/.exec(stdout)?.[1] ?? '';
  } catch {
    // Another runtime is in use: its version is not known.
    return '';
  }
}
