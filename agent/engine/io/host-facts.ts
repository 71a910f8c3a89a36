import { execFile } from 'node:child_process';
import { access, readFile } from 'node:fs/promises';
import { arch, cpus, machine, release, totalmem } from 'node:os';
import { promisify } from 'node:util';
import type { HostFacts } from '../types.ts';

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };

/** Reads what this host is. What cannot be read is left empty: it is shown and not decided on. */
export async function hostFacts(
  known: Pick<HostFacts, 'hostname' | 'stateDirectory' | 'containerdVersion' | 'shoalVersion'>,
): Promise<HostFacts> {
  const [osRelease, cgroupVersion, runcVersion] = await Promise.all([
    readFile('/etc/os-release', 'utf8').catch(() => ''),
    access('/sys/fs/cgroup/cgroup.controllers').then(
      () => 2 as const,
      () => 1 as const,
    ),
    runc(),
  ]);
  const field = (name: string) =>
    new RegExp(`^${name}="?([^"\n]*)"?$`, 'm').exec(osRelease)?.[1] ?? '';
  return {
    ...known,
    kernelVersion: release(),
    operatingSystem: field('PRETTY_NAME') || 'Linux',
    osVersion: field('VERSION_ID'),
    machine: machine(),
    architecture: ARCHITECTURES[arch()] ?? arch(),
    cpus: cpus().length,
    memoryBytes: totalmem(),
    cgroupVersion,
    runcVersion,
  };
}

async function runc(): Promise<string> {
  const found = await promisify(execFile)('runc', ['--version'], { timeout: 5000 }).catch(() => ({
    stdout: '',
  }));
  return /runc version (\S+)/.exec(found.stdout)?.[1] ?? '';
}
