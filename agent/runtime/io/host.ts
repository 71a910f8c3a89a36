import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { CgroupMounts } from '../cgroup.ts';
import type { HostFacts } from '../spec.ts';

const APPARMOR_PROFILE = 'docker-default';
// Static first: an image need not have the libc that the plain one wants.
const INITS = ['/usr/bin/tini-static', '/usr/libexec/docker/docker-init', '/usr/bin/tini'];

/** What this host is. `initPath` may be given; else the first tini that is installed. */
export function hostFacts(
  mounts: CgroupMounts,
  options: Readonly<{
    cgroupParent: string;
    initPath?: string | undefined;
    nativeSystemCallsOnly?: boolean | undefined;
  }>,
): HostFacts {
  return {
    architecture: process.arch,
    cgroupVersion: mounts.version,
    swapLimit: canLimitSwap(mounts),
    apparmorProfile: apparmorProfile(),
    cgroupParent: options.cgroupParent,
    nativeSystemCallsOnly: options.nativeSystemCallsOnly ?? false,
    initPath: options.initPath ?? INITS.find((path) => existsSync(path)) ?? '/usr/bin/tini',
  };
}

/** The last capability that the kernel knows, by number. */
export function lastCapability(): number {
  return Number(readOr('/proc/sys/kernel/cap_last_cap', '40'));
}

export function coreCount(): number {
  return availableParallelism();
}

export function makeFolder(path: string): void {
  mkdirSync(path, { recursive: true });
}

export function missingPath(path: string): boolean {
  return !existsSync(path);
}

function canLimitSwap(mounts: CgroupMounts): boolean {
  if (mounts.version === 1) {
    return existsSync(join(mounts.roots.memory ?? '', 'memory.memsw.limit_in_bytes'));
  }
  // The root cgroup has no such file; any child does.
  return ['system.slice', 'init.scope', 'user.slice'].some((slice) =>
    existsSync(join(mounts.root, slice, 'memory.swap.max')),
  );
}

function apparmorProfile(): string | undefined {
  if (!readOr('/sys/module/apparmor/parameters/enabled', 'N').startsWith('Y')) return undefined;
  const loaded = readOr('/sys/kernel/security/apparmor/profiles', '');
  return loaded.includes(`${APPARMOR_PROFILE} (`) ? APPARMOR_PROFILE : undefined;
}

function readOr(path: string, fallback: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return fallback;
  }
}
