/** A binary heap: the smallest by `before` is on top. Its items may change while they are on top. */
export class Heap<T> {
  readonly #items: T[];
  readonly #before: (a: T, b: T) => boolean;

  /** Takes the array over; linear time. */
  constructor(items: T[], before: (a: T, b: T) => boolean) {
    this.#items = items;
    this.#before = before;
    for (let i = (items.length >> 1) - 1; i >= 0; i--) this.#sink(i);
  }

  get size(): number {
    return this.#items.length;
  }

  peek(): T | undefined {
    return this.#items[0];
  }

  /** Puts the top, which was changed, where it belongs now. */
  topChanged(): void {
    if (this.#items.length > 1) this.#sink(0);
  }

  pop(): T | undefined {
    const top = this.#items[0];
    const last = this.#items.pop();
    if (last !== undefined && this.#items.length > 0) {
      this.#items[0] = last;
      this.#sink(0);
    }
    return top;
  }

  #sink(start: number): void {
    const items = this.#items;
    const item = items[start];
    if (item === undefined) return;
    let at = start;
    for (;;) {
      let least = 2 * at + 1;
      let child = items[least];
      if (child === undefined) break;
      const right = items[least + 1];
      if (right !== undefined && this.#before(right, child)) {
        least += 1;
        child = right;
      }
      if (!this.#before(child, item)) break;
      items[at] = child;
      at = least;
    }
    items[at] = item;
  }
}
