/** Which entries of shadow tables map each page of a guest: lists in two arrays, since most pages have one to three. */
const NONE = -1;

export class ReverseMap {
  readonly #first: number;
  readonly #heads: Int32Array;
  /** Pairs: entry, next. */
  #nodes = new Int32Array(2048);
  #unused = 0;
  #free = NONE;

  /** Of `pages` guest pages from `first` on. */
  constructor(first: number, pages: number) {
    this.#first = first;
    this.#heads = new Int32Array(pages).fill(NONE);
  }

  add(page: number, entry: number): void {
    let node = this.#free;
    if (node !== NONE) this.#free = this.#nodes[2 * node + 1]!;
    else {
      node = this.#unused++;
      if (2 * node >= this.#nodes.length) {
        const grown = new Int32Array(2 * this.#nodes.length);
        grown.set(this.#nodes);
        this.#nodes = grown;
      }
    }
    this.#nodes[2 * node] = entry;
    this.#nodes[2 * node + 1] = this.#heads[page - this.#first]!;
    this.#heads[page - this.#first] = node;
  }

  remove(page: number, entry: number): void {
    let before = NONE;
    for (let node = this.#heads[page - this.#first]!; node !== NONE; node = this.#nodes[2 * node + 1]!) {
      if (this.#nodes[2 * node] === entry) {
        const next = this.#nodes[2 * node + 1]!;
        if (before === NONE) this.#heads[page - this.#first] = next;
        else this.#nodes[2 * before + 1] = next;
        this.#nodes[2 * node + 1] = this.#free;
        this.#free = node;
        return;
      }
      before = node;
    }
  }

  /** The entries, not to be changed meanwhile; none of a page that is no memory. */
  *entries(page: number): Generator<number> {
    for (let node = this.#heads[page - this.#first] ?? NONE; node !== NONE; node = this.#nodes[2 * node + 1]!) yield this.#nodes[2 * node]!;
  }
}
