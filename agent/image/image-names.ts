import type { Clock } from '../../shared/clock.ts';
import { isShoalError, messageOf } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { danglingName, isDangling, type NamedImage, PULLED_LABEL } from './catalog.ts';
import type { ImageContent, ImageStore } from './io/image-store.ts';
import type { Descriptor } from './manifest.ts';
import { parseReference } from './reference.ts';

/** How long names are believed without asking containerd. Our own changes are seen at once. */
const NAMES_FRESH_MS = 5_000;

export type Catalog = Readonly<{
  named: readonly NamedImage[];
  /** By the digest of what a name leads to. */
  contents: ReadonlyMap<string, ImageContent>;
}>;

/** The names of this host's images in containerd, and what each leads to. */
export class ImageNames {
  readonly #store: ImageStore;
  readonly #clock: Clock;
  readonly #log: Log;
  #catalog: Promise<Catalog> | undefined;
  #catalogAtMs = 0;

  constructor(deps: Readonly<{ store: ImageStore; clock: Clock; log: Log }>) {
    this.#store = deps.store;
    this.#clock = deps.clock;
    this.#log = deps.log;
  }

  /** All names and what they lead to. Contents are immutable and cached by digest; names for a few seconds. */
  read(): Promise<Catalog> {
    const now = this.#clock.monotonicMs();
    if (this.#catalog === undefined || now - this.#catalogAtMs > NAMES_FRESH_MS) {
      const reading = this.#readNames();
      this.#catalog = reading;
      this.#catalogAtMs = now;
      reading.catch(() => {
        if (this.#catalog === reading) this.#catalog = undefined;
      });
    }
    return this.#catalog;
  }

  /** Gives `target` the name; the image that had it before stays, without one. */
  async set(
    name: string,
    target: Descriptor,
    labels: Readonly<Record<string, string>>,
    lease?: string,
  ): Promise<void> {
    const { named, contents } = await this.read();
    const before = named.find((each) => each.name === name);
    const others = named.filter((each) => each.name !== name && each.imageId === before?.imageId);
    const displaced = before && contents.get(before.targetDigest);
    if (
      displaced !== undefined &&
      displaced.target.digest !== target.digest &&
      others.length === 0
    ) {
      await this.#store.setName(danglingName(displaced.target.digest), displaced.target, {});
    }
    await this.#store.setName(name, target, labels, lease);
    this.changed();
  }

  /** It has a name now, so it need not be kept as one that has none. */
  async dropDangling(targetDigest: string): Promise<void> {
    const name = danglingName(targetDigest);
    const { named } = await this.read();
    if (!named.some((each) => each.name === name)) return;
    await this.#store.removeName(name, false);
    this.changed();
  }

  /** What was read is not so any more. */
  changed(): void {
    this.#catalog = undefined;
  }

  async #readNames(): Promise<Catalog> {
    const contents = new Map<string, ImageContent>();
    const named: NamedImage[] = [];
    for (const { name, target, labels } of await this.#store.names()) {
      if (target === undefined || !isReadable(name)) continue;
      try {
        const content = await this.#store.describe(target);
        if (content === undefined) continue;
        contents.set(target.digest, content);
        const pulled = labels[PULLED_LABEL] === 'true';
        named.push({ name, targetDigest: target.digest, imageId: content.id, pulled });
      } catch (error) {
        if (isShoalError(error, 'unavailable')) throw error;
        this.#log.warn('image: cannot be read, left out', { name, error: messageOf(error) });
      }
    }
    return { named, contents };
  }
}

/** Others may have put names here that are no references. */
function isReadable(name: string): boolean {
  if (isDangling(name)) return true;
  try {
    parseReference(name);
    return true;
  } catch {
    return false;
  }
}
