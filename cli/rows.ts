import { ageText } from './table.ts';
import type {
  ContainerJson,
  ImageJson,
  NetworkJson,
  NodeJson,
  ServiceJson,
  TaskJson,
} from './types.ts';

/** A listing: headings, and a row per object. */
export type Listing = Readonly<{
  headings: readonly string[];
  rows: readonly (readonly string[])[];
}>;

const short = (id: string) => id.replace(/^sha256:/, '').slice(0, 12);
const capital = (word: string) => word.charAt(0).toUpperCase() + word.slice(1);

export function nodeRows(nodes: readonly NodeJson[], ownId: string): Listing {
  return {
    headings: ['ID', 'HOSTNAME', 'ADDRESS', 'STATUS', 'AVAILABILITY', 'MANAGER STATUS', 'VERSION'],
    rows: [...nodes]
      .sort((a, b) => a.Description.Hostname.localeCompare(b.Description.Hostname))
      .map((node) => [
        `${node.ID}${node.ID === ownId ? ' *' : ''}`,
        node.Description.Hostname,
        node.Status.Addr,
        capital(node.Status.State),
        capital(node.Spec.Availability),
        node.ManagerStatus === undefined
          ? ''
          : node.ManagerStatus.Leader
            ? 'Leader'
            : capital(node.ManagerStatus.Reachability),
        node.Description.Engine.EngineVersion,
      ]),
  };
}

export function serviceRows(services: readonly ServiceJson[]): Listing {
  return {
    headings: ['ID', 'NAME', 'MODE', 'REPLICAS', 'IMAGE', 'PORTS'],
    rows: services.map(({ ID, Spec, ServiceStatus, Endpoint }) => [
      short(ID),
      Spec.Name,
      Spec.Mode.Global ? 'global' : 'replicated',
      `${ServiceStatus?.RunningTasks ?? '?'}/${ServiceStatus?.DesiredTasks ?? '?'}`,
      imageName(Spec.TaskTemplate.ContainerSpec.Image),
      (Endpoint?.Ports ?? [])
        .map((port) => `*:${port.PublishedPort}->${port.TargetPort}/${port.Protocol}`)
        .join(', '),
    ]),
  };
}

/** Tasks of one service, the newest of each slot first; older ones of a slot are its history. */
export function taskRows(
  tasks: readonly TaskJson[],
  nodes: readonly NodeJson[],
  serviceName: string,
  nowMs: number,
): Listing {
  const hostnames = new Map(nodes.map(({ ID, Description }) => [ID, Description.Hostname]));
  const sorted = [...tasks].sort(
    (a, b) =>
      (a.Slot ?? 0) - (b.Slot ?? 0) ||
      Date.parse(b.Status.Timestamp) - Date.parse(a.Status.Timestamp),
  );
  let last = '';
  return {
    headings: ['ID', 'NAME', 'IMAGE', 'NODE', 'DESIRED STATE', 'CURRENT STATE', 'ERROR'],
    rows: sorted.map((task) => {
      const name = `${serviceName}.${task.Slot ?? task.NodeID ?? ''}`;
      const shown = name === last ? ` \\_ ${name}` : name;
      last = name;
      return [
        short(task.ID),
        shown,
        imageName(task.Spec.ContainerSpec.Image),
        hostnames.get(task.NodeID ?? '') ?? '',
        capital(task.DesiredState),
        `${capital(task.Status.State)} ${ageText(nowMs - Date.parse(task.Status.Timestamp))} ago`,
        task.Status.Err ?? '',
      ];
    }),
  };
}

export function networkRows(networks: readonly NetworkJson[]): Listing {
  return {
    headings: ['NETWORK ID', 'NAME', 'DRIVER', 'SCOPE'],
    rows: networks.map(({ Id, Name, Driver, Scope }) => [short(Id), Name, Driver, Scope]),
  };
}

export function containerRows(containers: readonly ContainerJson[]): Listing {
  return {
    headings: ['CONTAINER ID', 'IMAGE', 'COMMAND', 'STATUS', 'NAMES'],
    rows: containers.map(({ Id, Image, Command, Status, Names }) => [
      short(Id),
      imageName(Image),
      `"${Command.slice(0, 30)}"`,
      Status,
      Names.map((name) => name.replace(/^\//, '')).join(','),
    ]),
  };
}

export function imageRows(images: readonly ImageJson[]): Listing {
  return {
    headings: ['IMAGE', 'ID', 'SIZE'],
    rows: images.flatMap(({ Id, RepoTags, Size }) =>
      (RepoTags?.length ? RepoTags : ['<none>']).map((tag) => [
        tag,
        short(Id),
        `${(Size / 1e6).toFixed(1)}MB`,
      ]),
    ),
  };
}

/** Without the digest that clients pin, as docker shows it. */
function imageName(image: string): string {
  return image.replace(/@sha256:[0-9a-f]+$/, '');
}
