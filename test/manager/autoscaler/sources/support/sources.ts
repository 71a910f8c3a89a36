import type { Source } from '../../../../../manager/autoscaler/sources/follower.ts';
import { Access } from '../../../../../manager/autoscaler/sources/io/access.ts';
import { Names } from '../../../../../manager/autoscaler/sources/io/names.ts';
import { Service } from '../../../../../shared/gen/shoal/v1/objects.ts';
import { systemClock } from '../../../../../shared/io/system.ts';

/** What the store would hold: secrets that a test may change, and services that publish a port. */
export class FakeStore {
  readonly secrets = new Map<string, string>();
  readonly services: Service[] = [];

  publish(name: string, targetPort: number, publishedPort: number): void {
    const ports = [{ protocol: 'tcp', publishMode: 'ingress', targetPort, publishedPort }];
    this.services.push(
      Service.fromPartial({ id: `id-${name}`, spec: { name }, endpoint: { ports } }),
    );
  }

  access(): Access {
    return new Access(
      {
        services: {
          byId: (id) => this.services.find((one) => one.id === id),
          byName: (name) => this.services.find(({ spec }) => spec?.name === name),
          all: () => this.services,
        },
        secret: (name) => {
          const text = this.secrets.get(name);
          return text === undefined ? undefined : new TextEncoder().encode(text);
        },
        names: new Names(systemClock),
      },
      'id-asking',
    );
  }
}

/** One reading that nothing hurries. */
export function read(source: Source): Promise<number> {
  return source.read(new AbortController().signal);
}

/** The message of a reading that fails. */
export async function failure(source: Source): Promise<string> {
  try {
    return `it answered ${await read(source)}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
