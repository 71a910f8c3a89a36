import type { LogMessage, LogSubscription } from '../../../shared/gen/shoal/v1/logs.ts';
import { PeerService } from '../../../shared/gen/shoal/v1/peer.ts';
import type { IdentitySource } from '../../../shared/pki/identity.ts';
import {
  type Channel,
  clusterCredentials,
  openChannel,
  serverStream,
  unary,
} from '../../../shared/rpc/io/client.ts';
import { clusterLink } from '../../../shared/rpc/io/cluster-listener.ts';
import type { LinkClient } from '../../../shared/rpc/io/link-client.ts';
import type { PeerLogs } from '../../logs/broker.ts';
import type { ReportCalls } from '../leader-link.ts';

type Credentials = ReturnType<typeof clusterCredentials>;

/** A report that takes longer than this is out of date anyway, or its leader is gone. */
const STATUS_DEADLINE_MS = 5_000;
const DIGEST_DEADLINE_MS = 1_000;
/** Longer than a call that was sent on may take: after a renewal nothing goes by the old ways any more. */
const RETIRE_AFTER_MS = 60_000;
/** What an answer takes beyond the time that the request leaves for it. */
const ANSWER_MS = 500;

/**
 * Ways to the other managers, opened when first needed: a link for calls that are sent on while a
 * client waits, a gRPC channel for reports and streams.
 */
export class ManagerChannels implements ReportCalls, PeerLogs {
  readonly #identity: IdentitySource;
  readonly #credentials: Credentials;
  readonly #channels = new Map<string, Channel>();
  readonly #links = new Map<string, LinkClient>();
  readonly #retiring = new Map<NodeJS.Timeout, readonly (Channel | LinkClient)[]>();
  readonly #stopFollowing: () => void;

  constructor(identity: IdentitySource) {
    this.#identity = identity;
    this.#credentials = clusterCredentials(identity);
    let { certificatePem } = identity.current();
    this.#stopFollowing = identity.onChange((next) => {
      if (next.certificatePem !== certificatePem) this.#retire();
      certificatePem = next.certificatePem;
    });
  }

  /**
   * A connection lives by the certificate it began with, and the other side looks at it at each call: with a new
   * certificate new ways are opened.
   */
  #retire(): void {
    const old = [...this.#channels.values(), ...this.#links.values()];
    this.#channels.clear();
    this.#links.clear();
    const timer = setTimeout(() => {
      this.#retiring.delete(timer);
      for (const way of old) way.close();
    }, RETIRE_AFTER_MS);
    this.#retiring.set(timer, old);
  }

  linkTo(address: string): LinkClient {
    const known = this.#links.get(address);
    if (known !== undefined) return known;
    const link = clusterLink(address, this.#identity);
    this.#links.set(address, link);
    return link;
  }

  #to(address: string): Channel {
    const known = this.#channels.get(address);
    if (known !== undefined) return known;
    const channel = openChannel(address, this.#credentials, {
      // A leader without power must be noticed within an election, not minutes later.
      'grpc.keepalive_time_ms': 2_000,
      'grpc.keepalive_timeout_ms': 2_000,
      // Or a channel opened after a renewal would share the connection of the one before.
      'grpc.use_local_subchannel_pool': 1,
    });
    this.#channels.set(address, channel);
    return channel;
  }

  /** Closes those to addresses that no manager has any more. */
  keepOnly(addresses: ReadonlySet<string>): void {
    for (const ways of [this.#channels, this.#links]) {
      for (const [address, way] of ways) {
        if (addresses.has(address)) continue;
        way.close();
        ways.delete(address);
      }
    }
  }

  async reportTaskStatuses(
    ...[address, batch, signal]: Parameters<ReportCalls['reportTaskStatuses']>
  ): Promise<void> {
    const options = { signal, deadlineMs: STATUS_DEADLINE_MS, mutates: true };
    await unary(this.#to(address), PeerService.reportTaskStatuses, batch, options);
  }

  async reportLiveness(
    ...[address, digest, signal]: Parameters<ReportCalls['reportLiveness']>
  ): Promise<void> {
    const options = { signal, deadlineMs: DIGEST_DEADLINE_MS };
    await unary(this.#to(address), PeerService.reportLiveness, digest, options);
  }

  async reportSamples(
    ...[address, batch, signal]: Parameters<ReportCalls['reportSamples']>
  ): Promise<void> {
    const options = { signal, deadlineMs: DIGEST_DEADLINE_MS };
    await unary(this.#to(address), PeerService.reportSamples, batch, options);
  }

  awaitApplied(...[address, request, signal]: Parameters<ReportCalls['awaitApplied']>) {
    const options = { signal, deadlineMs: request.withinMs + ANSWER_MS };
    return unary(this.#to(address), PeerService.awaitApplied, request, options);
  }

  logs(
    address: string,
    subscription: LogSubscription,
    signal: AbortSignal,
  ): AsyncIterable<LogMessage> {
    return serverStream(this.#to(address), PeerService.logs, subscription, { signal });
  }

  close(): void {
    this.#stopFollowing();
    this.keepOnly(new Set());
    for (const [timer, ways] of this.#retiring) {
      clearTimeout(timer);
      for (const way of ways) way.close();
    }
    this.#retiring.clear();
  }
}
