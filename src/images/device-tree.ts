import { assert } from "#base/assert.ts";
import type { DeviceTreeNode, DeviceTreeValue } from "#base/device-tree.ts";
import { HostelryError } from "#base/errors.ts";

/*
 * The flattened device tree (DTB), version 17: Devicetree Specification v0.4, chapter 5. All numbers are big-endian.
 *
 *     0 ┌──────────────────────┐
 *       │ header, 10 words     │
 *    40 ├──────────────────────┤
 *       │ memory reservations  │ pairs of u64, ended by a pair of zeros
 *    56 ├──────────────────────┤
 *       │ structure block      │ tokens: BEGIN_NODE name, PROP length name-offset value, END_NODE, … END
 *       ├──────────────────────┤
 *       │ strings block        │ property names, each NUL-terminated, each once
 *       └──────────────────────┘
 */
const MAGIC = 0xd00dfeed;
const VERSION = 17;
const LAST_COMPATIBLE_VERSION = 16;
const HEADER_SIZE = 40;
const RESERVATIONS_SIZE = 16;

const Token = { beginNode: 1, endNode: 2, property: 3, nop: 4, end: 9 } as const;

/** Deeper than any real tree; a bound for the reader's recursion. */
const MAX_DEPTH = 64;

/** Returns the flattened form of a tree. `root.name` is normally empty. */
export function encodeDeviceTree(root: DeviceTreeNode): Uint8Array {
  const structure = new ByteWriter();
  const strings = new StringTable();
  writeNode(structure, strings, root);
  structure.word(Token.end);

  const structureStart = HEADER_SIZE + RESERVATIONS_SIZE;
  const stringsStart = structureStart + structure.length;
  const total = stringsStart + strings.length;
  const header = [
    MAGIC, total, structureStart, stringsStart, HEADER_SIZE, VERSION, LAST_COMPATIBLE_VERSION,
    0, // boot_cpuid_phys
    strings.length, structure.length,
  ];

  const blob = new Uint8Array(total);
  const view = new DataView(blob.buffer);
  header.forEach((word, index) => view.setUint32(4 * index, word));
  blob.set(structure.bytes(), structureStart);
  blob.set(strings.bytes(), stringsStart);
  return blob;
}

function writeNode(out: ByteWriter, strings: StringTable, node: DeviceTreeNode): void {
  out.word(Token.beginNode);
  out.string(node.name);
  out.align();
  for (const [name, value] of Object.entries(node.properties)) {
    const bytes = encodeValue(name, value);
    out.word(Token.property);
    out.word(bytes.length);
    out.word(strings.offsetOf(name));
    out.append(bytes);
    out.align();
  }
  for (const child of node.children ?? []) writeNode(out, strings, child);
  out.word(Token.endNode);
}

function encodeValue(name: string, value: DeviceTreeValue): Uint8Array {
  if (value === true) return new Uint8Array(0);
  if (value instanceof Uint8Array) return value;
  const out = new ByteWriter();
  for (const item of typeof value === "string" ? [value] : value) {
    if (typeof item === "string") {
      out.string(item);
    } else {
      assert(Number.isInteger(item) && item >= 0 && item <= 0xffff_ffff, "a cell of the device tree is not a u32", { name, item });
      out.word(item);
    }
  }
  return out.bytes();
}

class ByteWriter {
  #buffer = new Uint8Array(1024);
  length = 0;

  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.length);
  }

  word(value: number): void {
    const at = this.#grow(4);
    new DataView(this.#buffer.buffer).setUint32(at, value);
  }

  string(text: string): void {
    assert(!text.includes("\0"), "a name or string of the device tree contains NUL", { text });
    this.append(new TextEncoder().encode(`${text}\0`));
  }

  append(bytes: Uint8Array): void {
    const at = this.#grow(bytes.length);
    this.#buffer.set(bytes, at);
  }

  /** Tokens are aligned to 4 bytes. */
  align(): void {
    this.#grow(-this.length & 3);
  }

  #grow(count: number): number {
    const at = this.length;
    this.length += count;
    if (this.length > this.#buffer.length) {
      const larger = new Uint8Array(2 ** Math.ceil(Math.log2(this.length)));
      larger.set(this.#buffer);
      this.#buffer = larger;
    }
    return at;
  }
}

class StringTable {
  readonly #out = new ByteWriter();
  readonly #offsets = new Map<string, number>();

  get length(): number {
    return this.#out.length;
  }

  bytes(): Uint8Array {
    return this.#out.bytes();
  }

  offsetOf(text: string): number {
    const known = this.#offsets.get(text);
    if (known !== undefined) return known;
    const offset = this.#out.length;
    this.#out.string(text);
    this.#offsets.set(text, offset);
    return offset;
  }
}

/**
 * Reads a flattened tree back. Values come as raw bytes, since the form does not say what they are: see `cellsOf` and
 * `stringsOf`. Throws HostelryError `bad-device-tree` if the blob is not one.
 */
export function decodeDeviceTree(blob: Uint8Array): DeviceTreeNode {
  const header = new BlockReader(blob, 0, blob.length);
  if (blob.length < HEADER_SIZE || header.word() !== MAGIC) throw bad("it does not begin with the magic number d00dfeed");
  const total = header.word();
  const structureStart = header.word();
  const stringsStart = header.word();
  header.word();
  const version = header.word();
  const compatible = header.word();
  header.word();
  const stringsSize = header.word();
  const structureSize = header.word();
  if (total > blob.length) throw bad(`it says ${total} bytes but has ${blob.length}`);
  if (version < VERSION || compatible > VERSION) throw bad(`its version is ${version}, not ${VERSION}`);

  const strings = new BlockReader(blob, stringsStart, stringsSize);
  const structure = new BlockReader(blob, structureStart, structureSize);
  if (structure.token() !== Token.beginNode) throw bad("its structure does not begin with a node");
  const root = readNode(structure, strings, 0);
  if (structure.token() !== Token.end) throw bad("its structure does not end after the root");
  return root;
}

function readNode(structure: BlockReader, strings: BlockReader, depth: number): DeviceTreeNode {
  if (depth > MAX_DEPTH) throw bad(`its nodes are nested more than ${MAX_DEPTH} deep`);
  const name = structure.string();
  structure.align();
  const properties: Record<string, DeviceTreeValue> = {};
  const children: DeviceTreeNode[] = [];
  for (;;) {
    const token = structure.token();
    if (token === Token.endNode) return { name, properties, children };
    if (token === Token.beginNode) {
      children.push(readNode(structure, strings, depth + 1));
    } else if (token === Token.property) {
      const length = structure.word();
      strings.position = structure.word();
      properties[strings.string()] = structure.take(length);
      structure.align();
    } else {
      throw bad(`it has an unknown token ${token}`);
    }
  }
}

/** One block of the blob; positions are relative to its start. */
class BlockReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  position = 0;

  constructor(blob: Uint8Array, start: number, length: number) {
    if (start + length > blob.length) throw bad("a block lies beyond its end");
    this.#bytes = blob.subarray(start, start + length);
    this.#view = new DataView(blob.buffer, blob.byteOffset + start, length);
  }

  word(): number {
    const at = this.position;
    this.take(4);
    return this.#view.getUint32(at);
  }

  token(): number {
    let token: number = Token.nop;
    while (token === Token.nop) token = this.word();
    return token;
  }

  string(): string {
    const end = this.#bytes.indexOf(0, this.position);
    if (end < 0) throw bad("a string has no end");
    const text = new TextDecoder().decode(this.#bytes.slice(this.position, end));
    this.position = end + 1;
    return text;
  }

  take(length: number): Uint8Array {
    if (this.position + length > this.#bytes.length) throw bad("it ends in the middle");
    const bytes = this.#bytes.slice(this.position, this.position + length);
    this.position += length;
    return bytes;
  }

  align(): void {
    this.position = (this.position + 3) & ~3;
  }
}

/** A decoded property's bytes as cells. */
export function cellsOf(value: DeviceTreeValue | undefined): number[] {
  if (!(value instanceof Uint8Array) || value.length % 4 !== 0) throw bad("a property is not a list of cells");
  const view = new DataView(value.buffer, value.byteOffset, value.length);
  return Array.from({ length: value.length / 4 }, (_, index) => view.getUint32(4 * index));
}

/** A decoded property's bytes as strings. */
export function stringsOf(value: DeviceTreeValue | undefined): string[] {
  if (!(value instanceof Uint8Array) || value.at(-1) !== 0) throw bad("a property is not a list of strings");
  return new TextDecoder().decode(value.subarray(0, -1)).split("\0");
}

function bad(what: string): HostelryError {
  return new HostelryError("bad-device-tree", `The device tree can't be read: ${what}. Give a DTB of version 17, as dtc writes.`);
}
