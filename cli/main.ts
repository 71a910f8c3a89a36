import { createReadStream } from 'node:fs';
import { parseArgs } from 'node:util';
import { FrameReader } from '../shared/stream-frames.ts';
import {
  composeAutoscale,
  type Output,
  serviceAutoscale,
  serviceExplain,
  top,
} from './autoscale.ts';
import { clusterBackup, clusterRestore } from './cluster.ts';
import { Engine } from './io/engine.ts';
import { passphrase } from './io/passphrase.ts';
import {
  containerRows,
  imageRows,
  type Listing,
  networkRows,
  nodeRows,
  serviceRows,
  taskRows,
} from './rows.ts';
import { scalePair, serviceSpec } from './service-spec.ts';
import { table } from './table.ts';
import type {
  ContainerJson,
  ImageJson,
  InfoJson,
  NetworkJson,
  NodeJson,
  ServiceJson,
  ServiceSpecJson,
  SwarmJson,
  TaskJson,
} from './types.ts';
import { OPTIONS, USAGE } from './usage.ts';

const DEFAULT_HOST = 'unix:///run/shoal/shoal.sock';
const STALE_COMMANDS = ['node ls', 'service ls', 'service ps', 'network ls'];
const POLL_MS = 200;
const CONVERGE_WITHIN_MS = 300_000;

type Flags = ReturnType<typeof parse>['values'];

function parse(args: string[]) {
  return parseArgs({ args, options: OPTIONS, allowPositionals: true, strict: true });
}

/** A usage mistake: exit code 2. */
class UsageError extends Error {}

async function run(args: string[]): Promise<void> {
  const { values: flags, positionals } = parse(args);
  if (flags.help || positionals.length === 0) {
    process.stdout.write(USAGE);
    return;
  }
  const [noun = '', verb = '', ...rest] = positionals;
  const mayBeStale = STALE_COMMANDS.includes(`${noun} ${verb}`);
  if (flags.stale && !mayBeStale) throw new UsageError('--stale is for lists only');
  const engine = new Engine(flags.host ?? process.env.DOCKER_HOST ?? DEFAULT_HOST, flags.stale);
  switch (`${noun} ${verb}`.trim()) {
    case 'info':
      return info(engine, flags);
    case 'swarm init':
      return swarmInit(engine, flags);
    case 'swarm join':
      return swarmJoin(engine, flags, one(rest, 'HOST:PORT'));
    case 'swarm join-token':
      return joinToken(engine, one(rest, 'worker or manager'));
    case 'swarm leave':
      await engine.post(`/swarm/leave${flags.force ? '?force=1' : ''}`);
      return;
    case 'node ls': {
      const [nodes, { Swarm }] = await Promise.all([
        engine.get<NodeJson[]>('/nodes'),
        engine.get<InfoJson>('/info'),
      ]);
      return show(flags, nodes, nodeRows(nodes, Swarm.NodeID));
    }
    case 'service create':
      return serviceCreate(engine, flags, rest);
    case 'service ls': {
      const services = await engine.get<ServiceJson[]>('/services?status=true');
      return show(
        flags,
        flags.format === 'json'
          ? services.map((service) => ({ ...service, Name: service.Spec.Name }))
          : services,
        serviceRows(services),
      );
    }
    case 'service ps':
      return servicePs(engine, flags, one(rest, 'a service'));
    case 'service scale':
      return serviceScale(engine, flags, rest);
    case 'service rm':
      for (const name of some(rest, 'a service')) {
        await engine.remove(`/services/${encodeURIComponent(name)}`);
        console.log(name);
      }
      return;
    case 'service autoscale': {
      const name = one(rest, 'a service');
      return put(flags, await serviceAutoscale(engine, name, flags, warn));
    }
    case 'service explain':
      return put(flags, await serviceExplain(engine, one(rest, 'a service')));
    case 'top': {
      const isLive = process.stdout.isTTY && flags.format !== 'json' && !flags['no-stream'];
      const shown = await top(engine, isLive);
      if (shown !== undefined) put(flags, shown);
      return;
    }
    case 'compose autoscale':
      return put(flags, await composeAutoscale(one(rest, 'a file')));
    case 'service logs':
      return serviceLogs(engine, flags, one(rest, 'a service'));
    case 'network ls': {
      const networks = await engine.get<NetworkJson[]>('/networks');
      return show(flags, networks, networkRows(networks));
    }
    case 'network create': {
      const { Id } = await engine.post<{ Id: string }>('/networks/create', {
        Name: one(rest, 'a name'),
        Driver: 'overlay',
        CheckDuplicate: true,
        Attachable: true,
      });
      console.log(Id);
      return;
    }
    case 'network rm':
      for (const name of some(rest, 'a network')) {
        await engine.remove(`/networks/${encodeURIComponent(name)}`);
        console.log(name);
      }
      return;
    case 'ps': {
      const containers = await engine.get<ContainerJson[]>(
        `/containers/json${flags.all ? '?all=1' : ''}`,
      );
      return show(flags, containers, containerRows(containers));
    }
    case 'image ls': {
      const images = await engine.get<ImageJson[]>('/images/json');
      return show(flags, images, imageRows(images));
    }
    case 'image load':
      return imageLoad(engine, one(rest, 'a file'));
    case 'cluster backup': {
      const file = one(rest, 'a file');
      const secret = await passphrase(flags['passphrase-file'], true);
      console.log(await clusterBackup(engine, file, secret, showProgress('written')));
      return;
    }
    case 'cluster restore':
      console.log(
        await clusterRestore(
          engine,
          one(rest, 'a file'),
          () => passphrase(flags['passphrase-file'], false),
          { advertiseAddress: flags['advertise-addr'] ?? '' },
          showProgress('read'),
        ),
      );
      return;
    default:
      throw new UsageError(`unknown command "${noun} ${verb}"`);
  }
}

async function info(engine: Engine, flags: Flags): Promise<void> {
  const found = await engine.get<InfoJson>('/info');
  if (flags.format === 'json') {
    print(found);
    return;
  }
  const { Swarm: swarm } = found;
  console.log(
    `Host: ${found.Name}\nVersion: ${found.ServerVersion}\nContainers: ${found.Containers}\nImages: ${found.Images}\nCluster: ${swarm.LocalNodeState}`,
  );
  if (swarm.LocalNodeState !== 'active') return;
  console.log(
    `Node: ${swarm.NodeID}\nAddress: ${swarm.NodeAddr}\nManager: ${swarm.ControlAvailable}`,
  );
  if (swarm.ControlAvailable) console.log(`Nodes: ${swarm.Nodes}\nManagers: ${swarm.Managers}`);
}

async function swarmInit(engine: Engine, flags: Flags): Promise<void> {
  const id = await engine.post<string>('/swarm/init', {
    ListenAddr: '0.0.0.0:2377',
    AdvertiseAddr: flags['advertise-addr'] ?? '',
  });
  console.log(
    `This node (${id}) is the first manager of a new cluster. For more nodes: shoal swarm join-token worker|manager`,
  );
}

async function swarmJoin(engine: Engine, flags: Flags, remote: string): Promise<void> {
  if (flags.token === undefined) throw new UsageError('swarm join needs --token');
  await engine.post('/swarm/join', {
    ListenAddr: '0.0.0.0:2377',
    AdvertiseAddr: flags['advertise-addr'] ?? '',
    RemoteAddrs: [remote],
    JoinToken: flags.token,
  });
  console.log('This node is part of the cluster now.');
}

async function joinToken(engine: Engine, role: string): Promise<void> {
  const { JoinTokens } = await engine.get<SwarmJson>('/swarm');
  if (role !== 'worker' && role !== 'manager')
    throw new UsageError(`there are worker and manager, not "${role}"`);
  console.log(role === 'worker' ? JoinTokens.Worker : JoinTokens.Manager);
}

async function serviceCreate(engine: Engine, flags: Flags, rest: readonly string[]): Promise<void> {
  const [image, ...command] = rest;
  if (image === undefined) throw new UsageError('service create needs an image');
  const body = serviceSpec(image, command, {
    name: flags.name,
    replicas: flags.replicas,
    mode: flags.mode,
    network: flags.network ?? [],
    publish: flags.publish ?? [],
    env: flags.env ?? [],
    label: flags.label ?? [],
    constraint: flags.constraint ?? [],
    limitMemory: flags['limit-memory'],
    limitCpu: flags['limit-cpu'],
  });
  const { ID, Warnings } = await engine.post<{ ID: string; Warnings: string[] | null }>(
    '/services/create',
    body,
  );
  console.log(ID);
  Warnings?.forEach(warn);
  if (!flags.detach) await converge(engine, ID);
}

async function servicePs(engine: Engine, flags: Flags, name: string): Promise<void> {
  const service = await engine.get<ServiceJson>(`/services/${encodeURIComponent(name)}`);
  const [tasks, nodes] = await Promise.all([
    engine.get<TaskJson[]>('/tasks', { service: [service.ID] }),
    engine.get<NodeJson[]>('/nodes'),
  ]);
  show(flags, tasks, taskRows(tasks, nodes, service.Spec.Name, Date.now()));
}

async function serviceScale(engine: Engine, flags: Flags, pairs: readonly string[]): Promise<void> {
  for (const { service: name, replicas } of some(pairs, 'SERVICE=REPLICAS').map(scalePair)) {
    const service = await engine.get<ServiceJson>(`/services/${encodeURIComponent(name)}`);
    if (service.Spec.Mode.Replicated === undefined)
      throw new Error(`${name} is not a replicated service: it cannot be scaled`);
    const spec: ServiceSpecJson = { ...service.Spec, Mode: { Replicated: { Replicas: replicas } } };
    const path = `/services/${service.ID}/update?version=${service.Version.Index}`;
    const { Warnings } = await engine.post<{ Warnings: string[] | null }>(path, spec);
    Warnings?.forEach(warn);
    console.log(`${name} scaled to ${replicas}`);
    if (!flags.detach) await converge(engine, service.ID);
  }
}

/** Waits until as many tasks run as are wanted, and says how far it is where a person looks. */
async function converge(engine: Engine, id: string): Promise<void> {
  const end = Date.now() + CONVERGE_WITHIN_MS;
  let last = '';
  for (;;) {
    const [service] = await engine.get<ServiceJson[]>(
      `/services?status=true&filters=${encodeURIComponent(JSON.stringify({ id: [id] }))}`,
    );
    const { RunningTasks: running = 0, DesiredTasks: desired = 0 } = service?.ServiceStatus ?? {};
    const text = `${running}/${desired} tasks running`;
    if (process.stderr.isTTY && text !== last) process.stderr.write(`\r${text}   `);
    last = text;
    if (service === undefined) throw new Error('the service was removed meanwhile');
    const wanted = service.Spec.Mode.Replicated?.Replicas ?? desired;
    if (
      running === desired &&
      running >= Math.min(wanted, desired) &&
      (desired > 0 || wanted === 0)
    )
      break;
    if (Date.now() > end)
      throw new Error(
        `${text} after ${CONVERGE_WITHIN_MS / 1000} s: see "shoal service ps ${service.Spec.Name}" for why`,
      );
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  if (process.stderr.isTTY) process.stderr.write('\n');
}

async function serviceLogs(engine: Engine, flags: Flags, name: string): Promise<void> {
  const query = new URLSearchParams({
    stdout: '1',
    stderr: '1',
    follow: flags.follow ? '1' : '0',
    tail: flags.tail ?? 'all',
  });
  const frames = new FrameReader();
  for await (const chunk of await engine.stream(
    `/services/${encodeURIComponent(name)}/logs?${query}`,
  )) {
    for (const { stream, data } of frames.push(chunk as Uint8Array))
      (stream === 2 ? process.stderr : process.stdout).write(data);
  }
}

async function imageLoad(engine: Engine, file: string): Promise<void> {
  const answer = await engine.upload('/images/load?quiet=1', createReadStream(file));
  for (const line of answer.split('\n').filter(Boolean)) {
    const { stream, error } = JSON.parse(line) as { stream?: string; error?: string };
    if (error !== undefined) throw new Error(error);
    if (stream !== undefined) process.stdout.write(stream);
  }
}

/** Where a person looks: how many bytes of how many objects. */
function showProgress(verb: string) {
  return (objects: number, bytes: number): void => {
    if (!process.stderr.isTTY) return;
    process.stderr.write(`\r${objects} objects, ${(bytes / 1024).toFixed(0)} KiB ${verb}\x1b[K`);
  };
}

function show(flags: Flags, objects: unknown, listing: Listing): void {
  if (flags.format === 'json') print(objects);
  else if (flags.format === undefined || flags.format === 'table')
    process.stdout.write(table(listing.headings, listing.rows));
  else throw new UsageError(`--format is table or json, not "${flags.format}"`);
}

function put(flags: Flags, { json, text }: Output): void {
  if (flags.format === 'json') print(json);
  else if (flags.format === undefined || flags.format === 'table') process.stdout.write(text);
  else throw new UsageError(`--format is table or json, not "${flags.format}"`);
}

function warn(text: string): void {
  process.stderr.write(`shoal: ${text}\n`);
}

function print(value: unknown): void {
  console.log(JSON.stringify(value, undefined, 2));
}

function one(rest: readonly string[], what: string): string {
  const [only, ...more] = rest;
  if (only === undefined || more.length > 0)
    throw new UsageError(`this command takes ${what}, and nothing more`);
  return only;
}

function some(rest: readonly string[], what: string): readonly string[] {
  if (rest.length === 0) throw new UsageError(`this command takes ${what}`);
  return rest;
}

try {
  await run(process.argv.slice(2));
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  const isUsage =
    error instanceof UsageError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS');
  process.stderr.write(`shoal: ${message}\n${isUsage ? 'See "shoal --help".\n' : ''}`);
  process.exitCode = isUsage ? 2 : 1;
}
