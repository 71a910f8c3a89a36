import { type Clock, sleep } from '../../../shared/clock.ts';
import { isShoalError } from '../../../shared/errors.ts';
import { ControlService, ListRequest } from '../../../shared/gen/shoal/v1/control.ts';
import { NodeRole } from '../../../shared/gen/shoal/v1/objects.ts';
import { PeerService } from '../../../shared/gen/shoal/v1/peer.ts';
import type { Log } from '../../../shared/log.ts';
import type { ManagerMode, ManagerStart } from '../../../shared/manager-start.ts';
import type { IdentitySource } from '../../../shared/pki/identity.ts';
import { formatUnlockKey } from '../../../shared/pki/unlock-key.ts';
import {
  clusterCredentials,
  localCredentials,
  openChannel,
  serverStream,
  unary,
} from '../../../shared/rpc/io/client.ts';
import type { LocalManager } from '../member-side.ts';
import { Supervisor } from './supervisor.ts';

const STOP_GRACE_MS = 5_000;
const CALL_WITHIN_MS = 5_000;
const RETRY_MS = 500;

/** The manager process of this host, started with `mode` the first time and as a member that goes on after that. */
export function localManager(options: {
  argv: readonly [string, ...string[]];
  pidFile: string;
  start: Omit<ManagerStart, 'mode' | 'unlockKey'>;
  mode: ManagerMode;
  identity: IdentitySource;
  /** What opens its log when it locks itself, as it is when the process is started. */
  unlockKey(): Uint8Array | undefined;
  /** Managers to be added by, while the log is empty. */
  remotes(): readonly string[];
  clock: Clock;
  log: Log;
}): LocalManager {
  const { start, mode, identity, clock, log } = options;
  const channel = openChannel(`unix://${start.socketPath}`, localCredentials());
  const supervisor = new Supervisor(
    {
      name: 'shoal-manager',
      argv: options.argv,
      pidFile: options.pidFile,
      input: (starts) => {
        const later: ManagerMode = { kind: 'run', remotes: options.remotes() };
        const key = options.unlockKey();
        const message: ManagerStart = {
          ...start,
          ...(key === undefined ? {} : { unlockKey: formatUnlockKey(key) }),
          mode: starts === 0 ? mode : later,
        };
        return JSON.stringify(message);
      },
    },
    clock,
    log,
  );
  return {
    start: () => supervisor.start(),
    async stop() {
      await supervisor.stop(STOP_GRACE_MS);
      channel.close();
    },
    async release() {
      await supervisor.release();
      channel.close();
    },
    followUnlockKey: (signal) =>
      serverStream(channel, ControlService.followUnlockKey, {}, { signal }),
    clusterInfo: (signal) =>
      unary(channel, ControlService.getCluster, {}, { signal, deadlineMs: CALL_WITHIN_MS }),
    async quorum(signal) {
      const request = ListRequest.fromPartial({ kind: 'node', roles: [NodeRole.MANAGER] });
      const options = { signal, deadlineMs: CALL_WITHIN_MS };
      let [reachable, unreachable] = [0, 0];
      for await (const { objects } of serverStream(
        channel,
        ControlService.list,
        request,
        options,
      )) {
        for (const { kind } of objects) {
          const status = kind?.$case === 'node' ? kind.value.managerStatus : undefined;
          if (status?.reachable) reachable++;
          else if (status !== undefined) unreachable++;
        }
      }
      return { reachable, unreachable };
    },
    backup: (signal) => serverStream(channel, ControlService.backup, {}, { signal }),
    async resign(signal) {
      // First: a member that was taken out ends, and started anew it would join again.
      await supervisor.release();
      const request = { nodeId: start.nodeId };
      // Its own manager may be on its way up or down; any other one sends the request on as well.
      for (let last: unknown; ; ) {
        for (const target of ['', ...options.remotes()]) {
          const other =
            target === '' ? undefined : openChannel(target, clusterCredentials(identity));
          try {
            const limits = { signal, deadlineMs: CALL_WITHIN_MS };
            await unary(other ?? channel, PeerService.leaveRaft, request, limits);
            return;
          } catch (error) {
            last = error;
            if (!isShoalError(error) || error.code === 'failed-precondition') throw error;
          } finally {
            other?.close();
          }
        }
        if (signal.aborted) throw last;
        await sleep(clock, RETRY_MS, signal);
      }
    },
  };
}
