import test from 'ava';
import {
  type Resolution,
  resolveAddress,
  type ServiceLookup,
} from '../../../../manager/autoscaler/sources/resolve.ts';
import { type PortConfig, Service } from '../../../../shared/gen/shoal/v1/objects.ts';

type Ports = Partial<PortConfig>[];

/** A service is called `STACK_name` when it is of a stack. Ports: published 30000 + target unless said otherwise. */
function service(name: string, stack: string, ports: Ports): Service {
  return Service.fromPartial({
    id: `id-${name}`,
    spec: { name, labels: stack === '' ? {} : { 'com.docker.stack.namespace': stack } },
    endpoint: {
      ports: ports.map((port) => ({
        protocol: 'tcp',
        publishMode: 'ingress',
        publishedPort: 30_000 + (port.targetPort ?? 0),
        ...port,
      })),
    },
  });
}

function lookup(services: readonly Service[]): ServiceLookup {
  return {
    byId: (id) => services.find((one) => one.id === id),
    byName: (name) => services.find((one) => one.spec?.name === name),
    all: () => services,
  };
}

const worker = service('shop_worker', 'shop', []);
const lonely = service('lonely', '', []);
const redis = { targetPort: 6379 };

type Row = Readonly<{
  title: string;
  services: readonly Service[];
  askedBy?: Service;
  host?: string;
  port?: number;
  expected: Resolution | RegExp;
}>;
const plain: Resolution = { kind: 'host' };
const published = (name: string, port = 36_379): Resolution => ({
  kind: 'published',
  port,
  service: name,
});

const ROWS: readonly Row[] = [
  { title: 'a name of no service is a host', services: [], expected: plain },
  {
    title: 'a service that publishes the port is found by its full name',
    services: [service('redis', '', [redis])],
    expected: published('redis'),
  },
  {
    title: 'a service of the own stack is found without the name of the stack',
    services: [service('shop_redis', 'shop', [redis])],
    expected: published('shop_redis'),
  },
  {
    title: 'the own stack goes before a service of the full name and before other stacks',
    services: [
      service('redis', '', [{ ...redis, publishedPort: 1 }]),
      service('blog_redis', 'blog', [{ ...redis, publishedPort: 2 }]),
      service('shop_redis', 'shop', [redis]),
    ],
    expected: published('shop_redis'),
  },
  {
    title: 'a service outside of all stacks finds one of the only stack that has the name',
    services: [service('shop_redis', 'shop', [redis])],
    askedBy: lonely,
    expected: published('shop_redis'),
  },
  {
    title: 'of two stacks with the name, the one that publishes the port is meant',
    services: [service('shop_redis', 'shop', []), service('blog_redis', 'blog', [redis])],
    askedBy: lonely,
    expected: published('blog_redis'),
  },
  {
    title: 'two stacks that both publish the port are not chosen between',
    services: [service('shop_redis', 'shop', [redis]), service('blog_redis', 'blog', [redis])],
    askedBy: lonely,
    expected: /both shop_redis and blog_redis publish port 6379/,
  },
  {
    title:
      'the own stack finds a service by its name even if that was created outside of the stack',
    services: [service('shop_redis', '', [redis])],
    expected: published('shop_redis'),
  },
  {
    title: 'an underscore in a name makes no stack of what stands before it',
    services: [service('big_redis', '', [redis])],
    askedBy: lonely,
    expected: plain,
  },
  {
    title: 'a service that does not publish the port cannot be reached, and that is said',
    services: [service('shop_redis', 'shop', [])],
    expected: /shop_redis does not publish port 6379 in ingress mode/,
  },
  {
    title: 'another target port is not meant, even if it is published as the one that is asked for',
    services: [service('shop_redis', 'shop', [{ targetPort: 1, publishedPort: 6379 }])],
    expected: /does not publish/,
  },
  {
    title: 'ports in host mode are on some hosts only',
    services: [service('shop_redis', 'shop', [{ ...redis, publishMode: 'host' }])],
    expected: /does not publish/,
  },
  {
    title: 'UDP is another port',
    services: [service('shop_redis', 'shop', [{ ...redis, protocol: 'udp' }])],
    expected: /does not publish/,
  },
  {
    title: 'a port that the allocator has not given out yet does not count',
    services: [service('shop_redis', 'shop', [{ ...redis, publishedPort: 0 }])],
    expected: /does not publish/,
  },
  {
    title: 'a name with a dot is a host, whatever services are called',
    services: [service('redis.local', '', [redis])],
    host: 'redis.local',
    expected: plain,
  },
  {
    title: 'an address is a host',
    services: [],
    host: '10.0.0.5',
    expected: plain,
  },
];

for (const { title, services, askedBy = worker, host = 'redis', port = 6379, expected } of ROWS) {
  test(title, (t) => {
    const all = lookup([worker, lonely, ...services]);
    const resolution = resolveAddress(all, askedBy.id, { host, port });
    if (expected instanceof RegExp) {
      t.is(resolution.kind, 'host');
      t.regex(resolution.kind === 'host' ? (resolution.hint ?? '') : '', expected);
    } else {
      t.deepEqual(resolution, expected);
    }
  });
}

test('names with dots and addresses are not looked for among the services', (t) => {
  const none: ServiceLookup = {
    byId: () => t.fail() as never,
    byName: () => t.fail() as never,
    all: () => t.fail() as never,
  };
  for (const host of ['10.0.0.5', '::1', 'redis.example.com']) {
    t.deepEqual(resolveAddress(none, 'x', { host, port: 1 }), { kind: 'host' });
  }
});
