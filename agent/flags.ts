import { ShoalError } from '../shared/errors.ts';

/** How a shoald is started. Paths are absolute. */
export type AgentFlags = Readonly<{
  stateDir: string;
  runDir: string;
  /** Engine API. */
  socket: string;
  hostname: string;
  /** Empty: the host's only address. */
  advertiseAddress: string;
  /** Relative to each cgroup hierarchy, `/shoal`. */
  cgroupParent: string;
  /** Socket of a containerd that runs already; empty starts a private one. */
  containerd: string;
  loggerPath: string;
  /** host:port of registries that speak plain HTTP, beside those on loopback. */
  insecureRegistries: readonly string[];
  labels: Readonly<Record<string, string>>;
  logLevel: 'debug' | 'info' | 'warn' | 'error';
}>;

/** What a flag parser gives: strings and lists of strings. */
export type RawFlags = Readonly<Record<string, string | readonly string[] | boolean | undefined>>;

const LEVELS = ['debug', 'info', 'warn', 'error'] as const;

/** Judges the flags. Throws ShoalError `invalid-argument` that names the flag. */
export function agentFlags(
  raw: RawFlags,
  defaults: { hostname: string; loggerPath: string },
): AgentFlags {
  const text = (name: string, fallback: string) => {
    const value = raw[name];
    return typeof value === 'string' && value !== '' ? value : fallback;
  };
  const path = (name: string, fallback: string) => {
    const value = text(name, fallback);
    if (value !== '' && !value.startsWith('/')) throw bad(name, value, 'an absolute path');
    return value.length > 1 ? value.replace(/\/+$/, '') : value;
  };
  const list = (name: string) => {
    const value = raw[name];
    return Array.isArray(value) ? (value as readonly string[]) : [];
  };
  const level = text('log-level', 'info');
  const logLevel = LEVELS.find((known) => known === level);
  if (logLevel === undefined) throw bad('log-level', level, LEVELS.join(', '));
  const runDir = path('run-dir', '/run/shoal');
  const cgroupParent = path('cgroup-parent', '/shoal');
  if (cgroupParent === '/') throw bad('cgroup-parent', cgroupParent, 'a group below the root');
  return {
    stateDir: path('state-dir', '/var/lib/shoal'),
    runDir,
    socket: path('socket', `${runDir}/shoal.sock`),
    hostname: text('hostname', defaults.hostname),
    advertiseAddress: text('advertise-address', ''),
    cgroupParent,
    containerd: path('containerd', ''),
    loggerPath: path('logger', defaults.loggerPath),
    insecureRegistries: list('insecure-registry'),
    labels: Object.fromEntries(
      list('label').map((entry) => {
        const at = entry.indexOf('=');
        if (at < 1) throw bad('label', entry, 'KEY=VALUE');
        return [entry.slice(0, at), entry.slice(at + 1)];
      }),
    ),
    logLevel,
  };
}

function bad(name: string, value: string, expected: string): ShoalError {
  return new ShoalError('invalid-argument', `--${name} is "${value}": expected ${expected}`);
}
