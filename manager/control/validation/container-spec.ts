import type { ContainerSpec, Healthcheck, Ulimit } from '../../../shared/gen/shoal/v1/objects.ts';
import { parseIp } from '../../../shared/model/cidr.ts';
import { checkLabels } from '../../../shared/model/labels.ts';
import { signalNumber } from '../../../shared/model/signal.ts';
import { NS_PER_MS } from '../../../shared/model/units.ts';
import { invalid, unimplemented } from '../refuse.ts';
import { checkImageReference } from './image-reference.ts';
import { checkMounts, isTemplate } from './mounts.ts';

/** The form of everything in it; references to secrets and configs are resolved elsewhere. */
export function checkContainerSpec(spec: ContainerSpec): void {
  checkImageReference(spec.image);
  checkLabels('ContainerSpec: labels', spec.labels);
  checkEnv(spec.env);
  for (const [field, words] of [
    ['command', spec.command],
    ['args', spec.args],
  ] as const) {
    if (words.some((word) => word.includes('\0'))) {
      throw invalid(`ContainerSpec: ${field}: an argument has a NUL in it`);
    }
  }
  checkHostname(spec.hostname);
  if (spec.dir !== '' && !spec.dir.startsWith('/')) {
    throw invalid(
      `the working directory '${spec.dir}' is invalid, it needs to be an absolute path`,
    );
  }
  if (spec.stopSignal !== '' && signalNumber(spec.stopSignal) === undefined) {
    throw invalid(`ContainerSpec: stop-signal: unknown signal ${JSON.stringify(spec.stopSignal)}`);
  }
  if ((spec.stopGracePeriodNs ?? 0) < 0) {
    throw invalid('ContainerSpec: stop-grace-period cannot be negative');
  }
  checkMounts(spec.mounts);
  checkHealthcheck(spec.healthcheck);
  checkHosts(spec.hosts);
  for (const nameserver of spec.dns?.nameservers ?? []) {
    if (parseIp(nameserver) === undefined) {
      throw invalid(`ContainerSpec: dns: ${JSON.stringify(nameserver)} is not an IP address`);
    }
  }
  checkPrivileges(spec);
  if (!['', 'default'].includes(spec.isolation)) {
    throw invalid(
      `ContainerSpec: isolation ${JSON.stringify(spec.isolation)} is not possible on Linux: leave it out or use default`,
    );
  }
}

function checkEnv(env: readonly string[]): void {
  for (const entry of env) {
    if (entry === '' || entry.startsWith('=')) {
      throw invalid(`ContainerSpec: env: invalid environment variable: ${JSON.stringify(entry)}`);
    }
    if (entry.includes('\0')) {
      throw invalid(`ContainerSpec: env: ${entry.split('=', 1)[0]?.slice(0, 64)} has a NUL in it`);
    }
  }
}

/** 64 is the kernel's limit (HOST_NAME_MAX). */
function checkHostname(hostname: string): void {
  if (hostname === '' || isTemplate(hostname)) return;
  if (hostname.length > 64 || !/^[a-zA-Z0-9]([a-zA-Z0-9_.-]*[a-zA-Z0-9])?$/.test(hostname)) {
    throw invalid(
      `ContainerSpec: hostname ${JSON.stringify(hostname.slice(0, 80))} is invalid: at most 64 of [a-zA-Z0-9_.-], first and last of [a-zA-Z0-9]`,
    );
  }
}

function checkHealthcheck(check: Healthcheck | undefined): void {
  if (check === undefined) return;
  const durations = [
    ['Interval', check.intervalNs],
    ['Timeout', check.timeoutNs],
    ['StartPeriod', check.startPeriodNs],
    ['StartInterval', check.startIntervalNs],
  ] as const;
  for (const [field, ns] of durations) {
    if (ns !== 0 && ns < NS_PER_MS) {
      throw invalid(`ContainerSpec: ${field} in HealthConfig cannot be less than 1ms`);
    }
  }
  if (check.retries < 0) throw invalid('ContainerSpec: Retries in HealthConfig cannot be negative');
  const [how, ...rest] = check.test;
  if (how === undefined || how === 'NONE') return; // the image's own check, or none
  if (how !== 'CMD' && how !== 'CMD-SHELL') {
    throw invalid(
      `ContainerSpec: health check ${JSON.stringify(how)} is unknown: Test begins with NONE, CMD or CMD-SHELL`,
    );
  }
  if (rest.length === 0) throw invalid(`ContainerSpec: health check ${how} has no command`);
}

/** Swarm stores extra hosts as lines of /etc/hosts: address, then names. */
function checkHosts(hosts: readonly string[]): void {
  for (const line of hosts) {
    const [address = '', ...names] = line.trim().split(/\s+/);
    if (address === 'host-gateway') {
      throw unimplemented(
        'ContainerSpec: hosts: host-gateway is not supported yet: give an address',
      );
    }
    if (parseIp(address) === undefined || names.length === 0 || line.includes('\n')) {
      throw invalid(
        `ContainerSpec: hosts: ${JSON.stringify(line)} is invalid: expected an IP address and names`,
      );
    }
  }
}

function checkPrivileges(spec: ContainerSpec): void {
  for (const [field, names] of [
    ['capability-add', spec.capabilityAdd],
    ['capability-drop', spec.capabilityDrop],
  ] as const) {
    for (const name of names) {
      if (!/^(CAP_)?[A-Z]+(_[A-Z]+)*$/i.test(name)) {
        throw invalid(`ContainerSpec: ${field}: invalid capability ${JSON.stringify(name)}`);
      }
    }
  }
  for (const key of Object.keys(spec.sysctls)) {
    if (!/^[a-zA-Z0-9_-]+([./][a-zA-Z0-9_-]+)+$/.test(key)) {
      throw invalid(`ContainerSpec: sysctls: ${JSON.stringify(key)} is not the name of a sysctl`);
    }
  }
  for (const ulimit of spec.ulimits) checkUlimit(ulimit);
  if (spec.oomScoreAdj < -1000 || spec.oomScoreAdj > 1000) {
    throw invalid(
      `ContainerSpec: oom-score-adj ${spec.oomScoreAdj} is out of range: must be between -1000 and 1000`,
    );
  }
}

const ULIMITS = new Set([
  'core',
  'cpu',
  'data',
  'fsize',
  'locks',
  'memlock',
  'msgqueue',
  'nice',
  'nofile',
  'nproc',
  'rss',
  'rtprio',
  'rttime',
  'sigpending',
  'stack',
]);

function checkUlimit({ name, soft, hard }: Ulimit): void {
  if (!ULIMITS.has(name)) throw invalid(`ContainerSpec: invalid ulimit type: ${name}`);
  const unlimited = (value: number) => value < 0;
  if (!unlimited(hard) && (unlimited(soft) || soft > hard)) {
    throw invalid(
      `ContainerSpec: ulimit ${name}: ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard}`,
    );
  }
}
