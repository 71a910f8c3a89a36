/** Past this the cache starts anew. */
const MAX_BYTES = 64 * 1024 * 1024;
/** What an entry takes beside its bytes: key, view and place in the map. */
const ENTRY_BYTES = 256;

/** Items as they are sent, by key, for the next session that needs them: those that many nodes see are encoded once. */
export class EncodedItems {
  readonly #items = new Map<string, Uint8Array>();
  #bytes = 0;

  get(key: string): Uint8Array | undefined {
    return this.#items.get(key);
  }

  keep(key: string, bytes: Uint8Array): void {
    this.#bytes += bytes.length + ENTRY_BYTES;
    if (this.#bytes > MAX_BYTES) {
      this.#items.clear();
      this.#bytes = bytes.length + ENTRY_BYTES;
    }
    this.#items.set(key, bytes);
  }

  forget(key: string): void {
    const bytes = this.#items.get(key);
    if (bytes === undefined) return;
    this.#items.delete(key);
    this.#bytes -= bytes.length + ENTRY_BYTES;
  }
}
