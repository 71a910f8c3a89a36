/** The command's words, as they are parsed and as they are told. */
export const USAGE = `shoal [--host unix:///path] [--format table|json] COMMAND

  info
  swarm init [--advertise-addr ADDRESS]   swarm join --token TOKEN HOST:PORT   swarm join-token worker|manager   swarm leave [--force]
  node ls [--stale]
  service create [--name N] [--replicas N] [--mode replicated|global] [--network N]... [--publish 8080:80]... [--env K=V]...
                 [--label K=V]... [--constraint C]... [--limit-memory 64m] [--limit-cpu 0.5] [--detach] IMAGE [-- COMMAND...]
  service autoscale NAME [--min 1] [--max 20] [--cpu 70%|0.5] [--memory 80%|512MiB] [--requests 200/s] [--connections 50/s]
                 [--redis-list address=redis:6379,key=jobs,per-replica=5]... (also --redis-stream --nats --prometheus --http)
                 [--up-stabilize 0s] [--down-stabilize 5m] [--mode active|recommend] [--set KEY=VALUE]... [--unset KEY]...
                 [--file x-autoscale.yaml] [--off] [--replay]     without any: what holds now; --unset '*': the labels hold
  service explain NAME                    why it has as many replicas as it has
  service ls [--stale] | ps [--stale] SERVICE | scale SERVICE=N... | rm SERVICE... | logs [--follow] [--tail N] SERVICE
  network ls [--stale] | create NAME | rm NAME...
  top [--no-stream]                       load of scaled services against their targets
  ps [--all]
  compose autoscale FILE                  labels for the x-autoscale keys of a compose file, for stock clients
  image ls | load FILE
  cluster backup FILE [--passphrase-file F]
  cluster restore FILE [--passphrase-file F] [--advertise-addr ADDRESS]   on a host that is in no cluster

--stale: what this manager knows, without asking a leader; for clusters that have none.
The daemon is the one of --host, else of DOCKER_HOST, else unix:///run/shoal/shoal.sock.
`;

/** Every command's flags in one table: their values are looked at by the command that knows them. */
export const OPTIONS = {
  host: { type: 'string', short: 'H' },
  format: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
  name: { type: 'string' },
  replicas: { type: 'string' },
  mode: { type: 'string' },
  network: { type: 'string', multiple: true },
  publish: { type: 'string', short: 'p', multiple: true },
  env: { type: 'string', short: 'e', multiple: true },
  label: { type: 'string', short: 'l', multiple: true },
  constraint: { type: 'string', multiple: true },
  'limit-memory': { type: 'string' },
  'limit-cpu': { type: 'string' },
  detach: { type: 'boolean', short: 'd' },
  follow: { type: 'boolean', short: 'f' },
  tail: { type: 'string' },
  all: { type: 'boolean', short: 'a' },
  token: { type: 'string' },
  'advertise-addr': { type: 'string' },
  force: { type: 'boolean' },
  'passphrase-file': { type: 'string' },
  stale: { type: 'boolean' },
  min: { type: 'string' },
  max: { type: 'string' },
  cpu: { type: 'string' },
  memory: { type: 'string' },
  pids: { type: 'string' },
  requests: { type: 'string' },
  connections: { type: 'string' },
  tolerance: { type: 'string' },
  warmup: { type: 'string' },
  'up-stabilize': { type: 'string' },
  'up-policies': { type: 'string' },
  'up-select': { type: 'string' },
  'down-stabilize': { type: 'string' },
  'down-policies': { type: 'string' },
  'down-select': { type: 'string' },
  'fast-window': { type: 'string' },
  'fast-threshold': { type: 'string' },
  'cooldown-to-zero': { type: 'string' },
  'redis-list': { type: 'string', multiple: true },
  'redis-stream': { type: 'string', multiple: true },
  nats: { type: 'string', multiple: true },
  prometheus: { type: 'string', multiple: true },
  http: { type: 'string', multiple: true },
  set: { type: 'string', multiple: true },
  unset: { type: 'string', multiple: true },
  file: { type: 'string' },
  off: { type: 'boolean' },
  replay: { type: 'boolean' },
  'no-stream': { type: 'boolean' },
} as const;
