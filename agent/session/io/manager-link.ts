import { messageOf, ShoalError } from '../../../shared/errors.ts';
import { DispatcherService } from '../../../shared/gen/shoal/v1/dispatcher.ts';
import type { IdentitySource } from '../../../shared/pki/identity.ts';
import {
  bidiStream,
  type Channel,
  clientStream,
  clusterCredentials,
  localCredentials,
  openChannel,
} from '../../../shared/rpc/io/client.ts';
import type { ManagerLink } from '../link.ts';

/** Sessions over gRPC: mutual TLS to other hosts, the unix socket to this host's own manager. */
export function grpcManagerLink(identity: IdentitySource): ManagerLink {
  const credentials = clusterCredentials(identity);
  const channels = new Map<string, Channel>();
  const opened = new Set<Channel>();
  // A connection lives by the certificate it began with, and managers look at it at each call. What goes on by the
  // old one ends there by itself.
  let { certificatePem } = identity.current();
  const stopFollowing = identity.onChange((next) => {
    if (next.certificatePem !== certificatePem) channels.clear();
    certificatePem = next.certificatePem;
  });
  const channelTo = (target: string): Channel => {
    const known = channels.get(target);
    if (known !== undefined) return known;
    const channel = openChannel(
      target,
      target.startsWith('unix:') ? localCredentials() : credentials,
      // Or a connection to a host without power would be kept for the next session that asks for it.
      { 'grpc.use_local_subchannel_pool': 1 },
    );
    channels.set(target, channel);
    opened.add(channel);
    return channel;
  };
  return {
    open(target) {
      const channel = channelTo(target);
      const call = bidiStream(channel, DispatcherService.session);
      return {
        send: (message) => call.send(message),
        messages: call.responses,
        cancel: () => {
          call.cancel();
          // A broken channel would back off for seconds; the next session dials anew.
          channel.close();
          opened.delete(channel);
          if (channels.get(target) === channel) channels.delete(target);
        },
      };
    },
    async publish(target, publications, signal) {
      try {
        await clientStream(channelTo(target), DispatcherService.publishLogs, publications, {
          signal,
        });
      } catch (error) {
        if (!signal.aborted)
          throw error instanceof ShoalError
            ? error
            : new ShoalError('unavailable', messageOf(error));
      }
    },
    close() {
      stopFollowing();
      for (const channel of opened) channel.close();
      opened.clear();
      channels.clear();
    },
  };
}
