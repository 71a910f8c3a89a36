/** What `service create` takes on the command line. */
export type ServiceFlags = Readonly<{
  name: string | undefined;
  replicas: string | undefined;
  mode: string | undefined;
  network: readonly string[];
  publish: readonly string[];
  env: readonly string[];
  label: readonly string[];
  constraint: readonly string[];
  limitMemory: string | undefined;
  limitCpu: string | undefined;
}>;

/** The body of `POST /services/create`. Throws an Error that names the flag. */
export function serviceSpec(
  image: string,
  command: readonly string[],
  flags: ServiceFlags,
): object {
  const limits = {
    ...(flags.limitMemory === undefined ? {} : { MemoryBytes: bytesOf(flags.limitMemory) }),
    ...(flags.limitCpu === undefined
      ? {}
      : { NanoCPUs: Math.round(numberOf('--limit-cpu', flags.limitCpu) * 1e9) }),
  };
  if (flags.mode !== undefined && flags.mode !== 'replicated' && flags.mode !== 'global') {
    throw new Error(`--mode is replicated or global, not "${flags.mode}"`);
  }
  return {
    ...(flags.name === undefined ? {} : { Name: flags.name }),
    Labels: Object.fromEntries(
      flags.label.map((entry) => [entry.split('=', 1)[0], entry.split('=').slice(1).join('=')]),
    ),
    TaskTemplate: {
      ContainerSpec: {
        Image: image,
        ...(command.length > 0 ? { Args: command } : {}),
        Env: flags.env,
      },
      Placement: { Constraints: flags.constraint },
      Resources: { Limits: limits },
      Networks: flags.network.map((Target) => ({ Target })),
    },
    Mode:
      flags.mode === 'global'
        ? { Global: {} }
        : { Replicated: { Replicas: numberOf('--replicas', flags.replicas ?? '1') } },
    EndpointSpec: { Ports: flags.publish.map(portOf) },
  };
}

/** `8080:80`, `8080:80/udp`, `80`. */
function portOf(text: string): object {
  const match = /^(?:(\d+):)?(\d+)(?:\/(tcp|udp|sctp))?$/.exec(text);
  if (match === null) throw new Error(`--publish is PUBLISHED:TARGET[/tcp|udp], not "${text}"`);
  return {
    Protocol: match[3] ?? 'tcp',
    TargetPort: Number(match[2]),
    ...(match[1] === undefined ? {} : { PublishedPort: Number(match[1]) }),
    PublishMode: 'ingress',
  };
}

function bytesOf(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgt]?)b?$/i.exec(text);
  if (match === null) throw new Error(`--limit-memory is a number with k, m or g, not "${text}"`);
  const power = ['', 'k', 'm', 'g', 't'].indexOf((match[2] ?? '').toLowerCase());
  return Math.round(Number(match[1]) * 1024 ** power);
}

function numberOf(flag: string, text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < 0)
    throw new Error(`${flag} is a number, not "${text}"`);
  return value;
}

/** `web=5` pairs of `service scale`. */
export function scalePair(text: string): { service: string; replicas: number } {
  const match = /^([^=]+)=(\d+)$/.exec(text);
  if (match?.[1] === undefined)
    throw new Error(`service scale takes SERVICE=REPLICAS, not "${text}"`);
  return { service: match[1], replicas: Number(match[2]) };
}
