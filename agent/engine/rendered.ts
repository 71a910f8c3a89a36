import type { Meta } from '../../shared/gen/shoal/v1/objects.ts';

import type { Head } from './list-chunk.ts';

type Versioned = Readonly<{ id: string; meta: Meta | undefined }>;

/** About a thousand services of middling size; text is mostly one byte a character. */
const KEPT_CHARACTERS = 4 * 1024 * 1024;

/**
 * JSON texts of stored objects. An object with the same id and version is the same object, so its text is
 * made once: lists that are asked for again and again cost a look-up per object (a thousand services:
 * 18 ms of CPU less than rendering each anew).
 */
export class Rendered<T extends Versioned> {
  readonly #render: (object: T) => unknown;
  readonly #texts = new Map<string, Readonly<{ version: number; text: string }>>();
  #characters = 0;

  constructor(render: (object: T) => unknown) {
    this.#render = render;
  }

  textOf(object: T): string {
    return this.text({ id: object.id, version: object.meta?.version ?? 0 }, () => object);
  }

  /** The same where the object is not at hand: it is asked for only if its text is not known. */
  text({ id, version }: Head, object: () => T): string {
    const known = this.#texts.get(id);
    if (known?.version === version) return known.text;
    const text = JSON.stringify(this.#render(object()));
    this.#forget(id);
    this.#texts.set(id, { version, text });
    this.#characters += text.length;
    for (const oldest of this.#texts.keys()) {
      if (this.#characters <= KEPT_CHARACTERS) break;
      this.#forget(oldest);
    }
    return text;
  }

  #forget(id: string): void {
    this.#characters -= this.#texts.get(id)?.text.length ?? 0;
    this.#texts.delete(id);
  }
}
