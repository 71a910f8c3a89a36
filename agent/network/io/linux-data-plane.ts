import type { Clock } from '../../../shared/clock.ts';
import { messageOf } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';
import type { Random } from '../../../shared/random.ts';
import { NetworkController } from '../data-plane.ts';
import { Directory } from '../dns/directory.ts';
import { CONTAINER_NAMESERVER, HOST_INNER_ADDRESS } from '../names.ts';
import { DnsForwarder } from './dns-forwarder.ts';
import { DnsServer } from './dns-server.ts';
import { SocketPortHolder } from './host-ports.ts';
import { LinuxKernel } from './linux-kernel.ts';

/** On HOST_INNER_ADDRESS. Not 53: a name server of the host may have that port on all addresses. */
const DNS_PORT = 5399;
const EGRESS_POOL = '172.26.0.0/16';

export type LinuxDataPlaneOptions = Readonly<{
  nodeId: string;
  /** Underlay address that this host's VXLAN packets come from: the one in the cluster's view. */
  hostAddress: string;
  clock: Clock;
  random: Random;
  log: Log;
  /** Name servers for names that are not ours; those in /etc/resolv.conf when absent. */
  dnsForwarders?: readonly string[] | undefined;
  /** For tests: the forwarders' port. */
  dnsForwarderPort?: number | undefined;
  /** Subnet of containers without networks; private to the host, so hosts may share one. */
  egressPool?: string | undefined;
}>;

/**
 * The data plane on Linux. The process must run in the host's own network and mount namespaces, as root, with
 * iproute2, nftables and util-linux installed (conntrack is used when it is there).
 */
export class LinuxDataPlane extends NetworkController {
  readonly #dns: DnsServer;

  constructor(options: LinuxDataPlaneOptions) {
    const { nodeId, hostAddress, clock, random, log } = options;
    const directory = new Directory();
    const forwarder = new DnsForwarder({
      clock,
      servers: options.dnsForwarders,
      own: [HOST_INNER_ADDRESS, CONTAINER_NAMESERVER],
      port: options.dnsForwarderPort,
    });
    const dns = new DnsServer({
      address: HOST_INNER_ADDRESS,
      port: DNS_PORT,
      directory,
      forwarder,
      random,
      log,
    });
    super({
      nodeId,
      hostAddress,
      kernel: new LinuxKernel({ clock, log }),
      ports: new SocketPortHolder(),
      clock,
      log,
      dnsPort: DNS_PORT,
      egressPool: options.egressPool ?? EGRESS_POOL,
      hostNamespace: String(process.pid),
      netnsDir: '/run/netns',
      onNames: async (view, tasks) => {
        directory.update(view, tasks);
        try {
          // Here and not at first: the address it binds is made by the first round.
          if (tasks.length > 0) await dns.start();
        } catch (error) {
          log.error('containers have no name server', { error: messageOf(error) });
        }
      },
    });
    this.#dns = dns;
  }

  override async removeAll(): Promise<void> {
    await this.#dns.close();
    await super.removeAll();
  }

  override async close(): Promise<void> {
    await super.close();
    await this.#dns.close();
  }
}
