import { ShoalError } from '../../shared/errors.ts';
import type { OciCapabilities } from './oci.ts';

/** What Docker leaves to a container that asks for nothing. */
const DEFAULT = `CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP
  NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE`
  .split(/\s+/)
  .map((name) => `CAP_${name}`);

/** All that Linux 5.9 and later know (capabilities.h), in the kernel's order. */
const ALL =
  `CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
  NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT
  SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE
  AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ
  PERFMON BPF CHECKPOINT_RESTORE`
    .split(/\s+/)
    .map((name) => `CAP_${name}`);

/**
 * The capabilities a container holds: Docker's default, with `drop` taken away and `add` put in. Names with
 * or without `CAP_`, in any case; `ALL` stands for all. Throws `invalid-argument` for an unknown name.
 */
export function capabilities(add: readonly string[], drop: readonly string[]): readonly string[] {
  const added = new Set(add.map(normalise));
  const dropped = new Set(drop.map(normalise));
  if (added.has('ALL')) return ALL.filter((name) => !dropped.has(name));
  const base = dropped.has('ALL') ? [] : DEFAULT.filter((name) => !dropped.has(name));
  return [...new Set([...base, ...added])];
}

/** All that the kernel knows up to its last capability (`/proc/sys/kernel/cap_last_cap`). */
export function allCapabilities(last: number): readonly string[] {
  return ALL.slice(0, last + 1);
}

/** A process that is not root keeps only the bounding set, as in Docker: what it may get by exec of a setuid file. */
export function capabilitySets(held: readonly string[], uid: number): OciCapabilities {
  return uid === 0 ? { bounding: held, effective: held, permitted: held } : { bounding: held };
}

function normalise(raw: string): string {
  const upper = raw.toUpperCase();
  if (upper === 'ALL' || upper === 'CAP_ALL') return 'ALL';
  const name = upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
  if (!ALL.includes(name)) {
    throw new ShoalError('invalid-argument', `invalid capability: unknown capability "${raw}"`);
  }
  return name;
}
