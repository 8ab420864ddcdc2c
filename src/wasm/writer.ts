/** A growing byte buffer with the encodings of the WebAssembly binary format (core specification, section 5.2). */
export class ByteWriter {
  bytes: Uint8Array;
  length = 0;

  constructor(capacity = 256) {
    this.bytes = new Uint8Array(capacity);
  }

  byte(value: number): void {
    if (this.length === this.bytes.length) this.#grow(1);
    this.bytes[this.length++] = value;
  }

  append(other: Uint8Array): void {
    if (this.length + other.length > this.bytes.length) this.#grow(other.length);
    this.bytes.set(other, this.length);
    this.length += other.length;
  }

  /** Unsigned LEB128 of a u32. */
  u32(value: number): void {
    value >>>= 0;
    while (value >= 0x80) {
      this.byte((value & 0x7f) | 0x80);
      value >>>= 7;
    }
    this.byte(value);
  }

  /** Signed LEB128 of an i32. */
  s32(value: number): void {
    value |= 0;
    while (value < -64 || value > 63) {
      this.byte((value & 0x7f) | 0x80);
      value >>= 7;
    }
    this.byte(value & 0x7f);
  }

  /** Signed LEB128 of an i64; a bigint may be given signed or unsigned. */
  s64(value: number | bigint): void {
    if (typeof value === "number") {
      if (value === (value | 0)) return this.s32(value);
      value = BigInt(value);
    }
    value = BigInt.asIntN(64, value);
    while (value < -64n || value > 63n) {
      this.byte(Number(value & 0x7fn) | 0x80);
      value >>= 7n;
    }
    this.byte(Number(value & 0x7fn));
  }

  f64(value: number): void {
    scratch.setFloat64(0, value, true);
    this.append(scratchBytes);
  }

  /** Length-prefixed UTF-8. */
  name(text: string): void {
    const encoded = new TextEncoder().encode(text);
    this.u32(encoded.length);
    this.append(encoded);
  }

  /** A copy of what was written. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.bytes.slice(0, this.length) as Uint8Array<ArrayBuffer>;
  }

  view(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }

  #grow(by: number): void {
    const bytes = new Uint8Array(Math.max(this.bytes.length * 2, this.length + by));
    bytes.set(this.view());
    this.bytes = bytes;
  }
}

const scratch = new DataView(new ArrayBuffer(8));
const scratchBytes = new Uint8Array(scratch.buffer);
