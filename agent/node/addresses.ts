import { messageOf } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { CONTROL_PORT } from '../../shared/manager-start.ts';
import { joinHostPort } from '../../shared/model/host-port.ts';
import {
  advertisedNow,
  type InterfaceAddress,
  resolveAdvertised,
  splitHostPort,
} from './address.ts';
import type { NodeRecord } from './record.ts';

/** What this host knows of its own addresses. `flag`: the daemon's, '' for none. */
export type HostAddresses = Readonly<{ flag: string; interfaces: readonly InterfaceAddress[] }>;

type Where = Pick<
  NodeRecord,
  'listenAddress' | 'advertiseAddress' | 'advertise' | 'dataPathAddress'
>;

/** Where a node that begins now listens and is reached. Throws ShoalError `invalid-argument` in Docker's words. */
export function whereAsked(
  request: Readonly<{ listenAddress: string; advertiseAddress: string; dataPathAddress: string }>,
  { flag, interfaces }: HostAddresses,
): Where {
  const listen = splitHostPort(request.listenAddress || '0.0.0.0', CONTROL_PORT);
  const asked = splitHostPort(request.advertiseAddress, listen.port);
  const isAnywhere = listen.host === '0.0.0.0' || listen.host === '::';
  // A listener on one address can be reached there and nowhere else.
  const host = resolveAdvertised(asked.host || (isAnywhere ? flag : listen.host), interfaces);
  const listenHost = isAnywhere ? listen.host : resolveAdvertised(listen.host, interfaces);
  return {
    listenAddress: joinHostPort(listenHost, listen.port),
    advertiseAddress: joinHostPort(host, asked.port),
    advertise: { asked: asked.host, flag },
    dataPathAddress:
      request.dataPathAddress === ''
        ? host
        : resolveAdvertised(request.dataPathAddress, interfaces),
  };
}

/** The record under the address that this host has now; the same one when it has not moved. */
export function whereNow(
  record: NodeRecord,
  { flag, interfaces }: HostAddresses,
  log: Log,
): NodeRecord {
  const before = splitHostPort(record.advertiseAddress, CONTROL_PORT);
  let host: string;
  try {
    host = advertisedNow(before.host, record.advertise, flag, interfaces);
  } catch (error) {
    log.warn('keeping the address of before', { error: messageOf(error) });
    return record;
  }
  if (host === before.host) return record;
  log.warn('this host has another address now', { before: before.host, now: host });
  return {
    ...record,
    advertiseAddress: joinHostPort(host, before.port),
    advertise: { asked: record.advertise?.asked ?? '', flag },
    dataPathAddress: record.dataPathAddress === before.host ? host : record.dataPathAddress,
  };
}
