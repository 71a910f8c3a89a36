import { execFileSync } from 'node:child_process';
import { cpus, networkInterfaces, totalmem } from 'node:os';
import { NodeDescription } from '../../../shared/gen/shoal/v1/objects.ts';
import { NANO_CPUS_PER_CPU } from '../../../shared/model/units.ts';
import { ENGINE_VERSION } from '../../engine/version.ts';
import type { InterfaceAddress } from '../address.ts';

const VXLAN_OVERHEAD_BYTES = 50; // outer Ethernet, IPv4, UDP and VXLAN headers
const DEFAULT_MTU = 1500;
const PLUGINS = [
  'Network/overlay',
  'Network/bridge',
  'Network/host',
  'Network/null',
  'Volume/local',
  'Log/json-file',
];
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'aarch64' };

/** This host's addresses, IPv4 first. */
export function hostInterfaces(): InterfaceAddress[] {
  return Object.entries(networkInterfaces()).flatMap(([name, addresses]) =>
    (addresses ?? [])
      .filter(({ family }) => family === 'IPv4')
      .map(({ address, internal }) => ({ name, address, internal })),
  );
}

/** What the cluster is told of this host. */
export function describeHost(options: {
  hostname: string;
  labels: Readonly<Record<string, string>>;
  dataPathAddress: string;
}): NodeDescription {
  return NodeDescription.fromPartial({
    hostname: options.hostname,
    platform: { architecture: ARCHITECTURES[process.arch] ?? process.arch, os: 'linux' },
    resources: { nanoCpus: cpus().length * NANO_CPUS_PER_CPU, memoryBytes: totalmem() },
    engineVersion: ENGINE_VERSION,
    engineLabels: { ...options.labels },
    plugins: PLUGINS,
    dataPathAddress: options.dataPathAddress,
    overlayMtu: underlayMtu(options.dataPathAddress) - VXLAN_OVERHEAD_BYTES,
  });
}

/** MTU of the interface that has the address. */
function underlayMtu(address: string): number {
  const name = hostInterfaces().find((candidate) => candidate.address === address)?.name;
  if (name === undefined) return DEFAULT_MTU;
  // Not from /sys: a daemon in a network namespace may see another namespace's /sys.
  const links: unknown = JSON.parse(
    execFileSync('ip', ['-j', 'link', 'show', 'dev', name], { encoding: 'utf8' }),
  );
  const [link] = Array.isArray(links) ? (links as { mtu?: number }[]) : [];
  return link?.mtu ?? DEFAULT_MTU;
}
