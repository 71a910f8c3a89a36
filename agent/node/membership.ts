import { isShoalError, messageOf, ShoalError } from '../../shared/errors.ts';
import { BackupMessage, type ClusterInfo } from '../../shared/gen/shoal/v1/control.ts';
import { CONTROL_PORT, DATA_PATH_PORT, type ManagerMode } from '../../shared/manager-start.ts';
import {
  DEFAULT_CLUSTER_SPEC,
  newAddressPools,
  newClusterSpec,
  newDataPathPort,
} from '../../shared/model/cluster-spec.ts';
import { joinHostPort } from '../../shared/model/host-port.ts';
import { nsToMs } from '../../shared/model/units.ts';
import type { TlsIdentity } from '../../shared/pki/identity.ts';
import { parseUnlockKey } from '../../shared/pki/unlock-key.ts';
import { LOCKED, NOT_A_MANAGER } from '../engine/swarm-words.ts';
import type {
  InitRequest,
  JoinRequest,
  Membership,
  NodeStanding,
  RestoreRequest,
} from '../engine/types.ts';
import { splitHostPort } from './address.ts';
import { type HostAddresses, whereAsked, whereNow } from './addresses.ts';
import { readBackup } from './backup.ts';
import type { ClusterSide, MembershipDeps } from './membership-ports.ts';
import { leaveRefusal } from './quorum.ts';
import type { NodeRecord } from './record.ts';

const ALREADY_PART =
  'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.';
const NOT_LOCKED = 'swarm is not locked';
const INVALID_KEY = 'swarm could not be unlocked: invalid key provided';
const UNLOCKED_WITHIN_MS = 10_000;
const READY_WITHIN_MS = 30_000;
const RESIGN_WITHIN_MS = 10_000;

/** This host's way into a cluster, and out of it. One change at a time. */
export class NodeMembership implements Membership {
  readonly #deps: MembershipDeps;
  #side: ClusterSide | undefined;
  #locked: NodeRecord | undefined;
  #state: NodeStanding['localState'] = 'inactive';
  #busy = false;

  constructor(deps: MembershipDeps) {
    this.#deps = deps;
  }

  get side(): ClusterSide | undefined {
    return this.#side;
  }

  /** At the start of the daemon: goes on with the membership it had. */
  async resume(record: NodeRecord, identity: TlsIdentity): Promise<void> {
    const remotes = record.managers.map(({ address }) => address);
    const moved = whereNow(record, this.#host(), this.#deps.log);
    if (moved !== record) {
      // One that outlived the daemon is to be reached where this host was.
      await this.#deps.endManager();
      await this.#deps.store.saveRecord(moved);
    }
    this.#side = await this.#deps.startSide(moved, identity, { kind: 'run', remotes });
    this.#state = 'active';
  }

  /** At the start of the daemon, when the TLS key is locked: waits for `unlock`. */
  lock(record: NodeRecord): void {
    this.#locked = record;
    this.#state = 'locked';
  }

  /** `key` as `swarm unlock-key` shows it. */
  unlock(key: string, signal: AbortSignal): Promise<void> {
    return this.#exclusively(async () => {
      const record = this.#locked;
      if (record === undefined) throw new ShoalError('failed-precondition', NOT_LOCKED);
      const parsed = parseUnlockKey(key);
      if (parsed === undefined) throw new ShoalError('invalid-argument', 'invalid key string');
      const identity = await this.#deps.store.unlock(parsed).catch((error: unknown) => {
        if (!isShoalError(error, 'unauthenticated')) throw error;
        throw new ShoalError('unauthenticated', INVALID_KEY, { cause: error });
      });
      await this.resume(record, identity);
      this.#locked = undefined;
      // Unlocked it is; the others may be locked still, and nothing is to be had without them.
      await this.#side
        ?.ready(AbortSignal.any([signal, AbortSignal.timeout(UNLOCKED_WITHIN_MS)]))
        .catch((error) => {
          this.#deps.log.warn('unlocked, but not ready yet', { error: messageOf(error) });
        });
    }, true);
  }

  standing(): NodeStanding {
    const record = this.#side?.record ?? this.#locked;
    const { describe } = this.#deps;
    return {
      localState: this.#state,
      nodeId: record?.nodeId ?? '',
      nodeAddress:
        record === undefined ? '' : splitHostPort(record.advertiseAddress, CONTROL_PORT).host,
      isManager: record?.role === 'manager',
      remoteManagers: this.#side?.managers() ?? [],
      clusterId: record?.clusterId ?? '',
      warnings: this.#side?.warnings() ?? [],
      // When it is asked for: it lists CPUs and interfaces, and each request looks at the rest.
      get description() {
        return describe();
      },
    };
  }

  init(request: InitRequest, signal: AbortSignal): Promise<string> {
    if (request.forceNewCluster && this.#locked !== undefined) {
      return Promise.reject(new ShoalError('unavailable', LOCKED));
    }
    // As Docker: on a host that is in no cluster it founds one like any other init.
    if (request.forceNewCluster && this.#side !== undefined) {
      return this.#exclusively(() => this.#forceNewCluster(request, signal), true);
    }
    return this.#exclusively(async () => {
      const where = whereAsked(request, this.#host());
      // All that can be refused is refused here: the manager process would only end, and be started again.
      const autolockManagers = request.spec.autolockManagers || request.autoLock;
      const spec = newClusterSpec({ ...request.spec, autolockManagers });
      const pools = newAddressPools(request);
      const dataPathPort = newDataPathPort(request.dataPathPort);
      const founding = this.#deps.found(nsToMs(spec.nodeCertExpiryNs));
      const record: NodeRecord = {
        ...where,
        nodeId: founding.nodeId,
        clusterId: founding.clusterId,
        role: 'manager',
        dataPathPort,
        managers: [{ nodeId: founding.nodeId, address: where.advertiseAddress }],
      };
      await this.#enter(record, founding.identity, signal, {
        kind: 'bootstrap',
        bootstrap: {
          rootCertificatePem: founding.rootCertificatePem,
          rootKeyPem: founding.rootKeyPem,
          hostname: this.#deps.hostname,
          availability: request.availability,
          ...pools,
          dataPathPort,
          spec,
        },
      });
      return record.nodeId;
    });
  }

  join(request: JoinRequest, signal: AbortSignal): Promise<void> {
    return this.#exclusively(async () => {
      if (request.remoteAddresses.length === 0) {
        throw new ShoalError('invalid-argument', 'at least one RemoteAddr is required to join');
      }
      const where = whereAsked(request, this.#host());
      const remotes = request.remoteAddresses.map((text) => {
        const { host, port } = splitHostPort(text, CONTROL_PORT);
        return joinHostPort(host, port);
      });
      const enrolment = await this.#deps.enroll(
        remotes,
        request.joinToken,
        request.availability,
        signal,
      );
      const record: NodeRecord = {
        ...where,
        nodeId: enrolment.nodeId,
        clusterId: enrolment.clusterId,
        role: enrolment.role,
        dataPathPort: DATA_PATH_PORT,
        managers:
          enrolment.managers.length > 0
            ? enrolment.managers
            : remotes.map((address) => ({ nodeId: '', address })),
      };
      await this.#enter(record, enrolment.identity, signal, {
        kind: 'run',
        remotes: record.managers.map(({ address }) => address),
      });
    });
  }

  restore(request: RestoreRequest, signal: AbortSignal): Promise<string> {
    return this.#exclusively(async () => {
      const where = whereAsked(request, this.#host());
      const { header, chunks } = await readBackup(request.messages);
      const { clusterId, rootCertificatePem, rootKeyPem, index, dataPathPort } = header;
      const founding = this.#deps.refound(
        { clusterId, certificatePem: rootCertificatePem, keyPem: rootKeyPem },
        nsToMs(DEFAULT_CLUSTER_SPEC.nodeCertExpiryNs),
      );
      const record: NodeRecord = {
        ...where,
        nodeId: founding.nodeId,
        clusterId,
        role: 'manager',
        dataPathPort: dataPathPort || DATA_PATH_PORT,
        managers: [{ nodeId: founding.nodeId, address: where.advertiseAddress }],
      };
      await this.#enter(record, founding.identity, signal, {
        kind: 'restore',
        restore: {
          hostname: this.#deps.hostname,
          index,
          chunks: chunks.map((chunk) => Buffer.from(chunk).toString('base64')),
        },
      });
      return record.nodeId;
    });
  }

  async *backup(signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const messages = this.#side?.backup(signal);
    if (messages === undefined) throw new ShoalError('unavailable', NOT_A_MANAGER);
    for await (const message of messages) yield BackupMessage.encode(message).finish();
  }

  leave(force: boolean, signal: AbortSignal): Promise<void> {
    return this.#exclusively(async () => {
      const side = this.#side;
      if (side === undefined && this.#locked !== undefined) {
        if (!force) throw new ShoalError('unavailable', LOCKED);
        await this.#deps.endTasks(this.#locked);
        await this.#deps.store.clear();
        this.#locked = undefined;
        this.#state = 'inactive';
        return;
      }
      if (side === undefined) {
        throw new ShoalError('unavailable', 'This node is not part of a swarm');
      }
      if (side.record.role === 'manager') await this.#leaveAsManager(side, force, signal);
      await this.#forget(side);
    }, true);
  }

  /**
   * The cluster knows this node no more: what the membership brought goes, as after a leave. Does
   * nothing while something else is under way: it is told again as long as it is so.
   */
  async dismissed(): Promise<void> {
    const side = this.#side;
    if (side === undefined || this.#busy) return;
    const { nodeId } = side.record;
    this.#deps.log.warn('this node was removed from the cluster', { nodeId });
    await this.#exclusively(() => this.#forget(side), true);
  }

  async #forget(side: ClusterSide): Promise<void> {
    await side.tearDown();
    await this.#deps.store.clear();
    this.#side = undefined;
    this.#state = 'inactive';
  }

  async clusterInfo(signal: AbortSignal): Promise<ClusterInfo | undefined> {
    return this.#side?.clusterInfo(signal);
  }

  async close(): Promise<void> {
    await this.#side?.close();
  }

  async #leaveAsManager(side: ClusterSide, force: boolean, signal: AbortSignal): Promise<void> {
    const counts = await side
      .quorum(AbortSignal.any([signal, AbortSignal.timeout(RESIGN_WITHIN_MS)]))
      .catch((error) => {
        this.#deps.log.warn('cannot ask the cluster before leaving it', {
          error: messageOf(error),
        });
        return undefined;
      });
    if (!force) throw new ShoalError('unavailable', leaveRefusal(counts));
    if (counts !== undefined && counts.reachable + counts.unreachable <= 1) return;
    await side
      .resign(AbortSignal.any([signal, AbortSignal.timeout(RESIGN_WITHIN_MS)]))
      .catch((error) => {
        // Forced: the others keep a dead member, which their operators can remove.
        this.#deps.log.warn('left without leaving the quorum', { error: messageOf(error) });
      });
  }

  /**
   * Goes on as the only manager, after the others were lost. Tasks of this host run on. When it fails
   * this host is what it was: a manager, which may lack a quorum.
   */
  async #forceNewCluster(request: InitRequest, signal: AbortSignal): Promise<string> {
    const { store, startSide, log } = this.#deps;
    const before = this.#side;
    if (before?.record.role !== 'manager') throw new ShoalError('unavailable', NOT_A_MANAGER);
    const where = request.advertiseAddress === '' ? {} : whereAsked(request, this.#host());
    const record: NodeRecord = { ...before.record, ...where };
    const saved = await store.load();
    if (saved?.identity === undefined)
      throw new ShoalError('internal', 'the certificate of this node is gone');
    log.warn('going on as the only manager of the cluster', { nodeId: record.nodeId });
    await before.close();
    await store.saveRecord(record);
    try {
      this.#side = await startSide(record, saved.identity, { kind: 'force-new' });
    } catch (error) {
      const remotes = record.managers.map(({ address }) => address);
      this.#side = await startSide(record, saved.identity, { kind: 'run', remotes });
      throw error;
    }
    await this.#ready(this.#side, signal);
    return record.nodeId;
  }

  /** A failed entry leaves nothing behind. */
  async #enter(
    record: NodeRecord,
    identity: TlsIdentity,
    signal: AbortSignal,
    mode: ManagerMode,
  ): Promise<void> {
    const { store } = this.#deps;
    let side: ClusterSide | undefined;
    try {
      await store.saveIdentity(identity);
      await store.saveRecord(record);
      side = await this.#deps.startSide(record, identity, mode);
      await this.#ready(side, signal);
    } catch (error) {
      await side?.tearDown();
      await store.clear();
      throw error;
    }
    this.#side = side;
    this.#state = 'active';
  }

  async #ready(side: ClusterSide, signal: AbortSignal): Promise<void> {
    const late = new AbortController();
    const timer = this.#deps.clock.after(READY_WITHIN_MS, () => late.abort());
    try {
      await side.ready(AbortSignal.any([signal, late.signal]));
    } catch (cause) {
      if (!late.signal.aborted) throw cause;
      const seconds = READY_WITHIN_MS / 1_000;
      const why = `what runs on this host for a cluster was not up within ${seconds} s: the log of shoald says why`;
      throw new ShoalError('deadline-exceeded', why, { cause });
    } finally {
      timer.cancel();
    }
  }

  #host(): HostAddresses {
    const { advertiseAddress, interfaces } = this.#deps;
    return { flag: advertiseAddress, interfaces: interfaces() };
  }

  async #exclusively<T>(work: () => Promise<T>, leaving = false): Promise<T> {
    if (this.#busy) {
      throw new ShoalError(
        'unavailable',
        'another init, join or leave of this node is under way: try again when it has ended',
      );
    }
    // A locked one is in its cluster, too: nothing of it may be written over.
    const isPart = this.#side !== undefined || this.#locked !== undefined;
    if (!leaving && isPart) throw new ShoalError('unavailable', ALREADY_PART);
    this.#busy = true;
    try {
      return await work();
    } finally {
      this.#busy = false;
    }
  }
}
