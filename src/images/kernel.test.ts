import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { parseFirmware, parseKernel } from "./kernel.ts";
import { elf, riscvImage } from "./testing.ts";
import { encodeText } from "./text.ts";

const WHAT = "the kernel vmlinux";

function edited(file: Uint8Array, edit: (view: DataView) => void): Uint8Array {
  edit(new DataView(file.buffer, file.byteOffset));
  return file;
}

/** An Image that is a PE program, too, as Debian's: one section of `size` bytes at 0x200. */
function peImage(size: number, machine = 0x5064): Uint8Array {
  return edited(riscvImage(0x400, 0x1000), (view) => {
    view.setUint16(0, 0x5a4d, true);
    view.setUint32(0x3c, 0x40, true);
    view.setUint32(0x40, 0x4550, true);
    view.setUint16(0x44, machine, true);
    view.setUint16(0x46, 1, true);
    view.setUint16(0x54, 0, true);
    view.setUint32(0x58 + 16, size, true);
    view.setUint32(0x58 + 20, 0x200, true);
  });
}

function zboot(method: string, payload: Uint8Array): Uint8Array {
  const file = new Uint8Array(0x100 + payload.length);
  file.set(encodeText("MZ\0\0zimg"));
  file.set(encodeText(method), 24);
  file.set(payload, 0x100);
  return edited(file, (view) => {
    view.setUint32(8, 0x100, true);
    view.setUint32(12, payload.length, true);
  });
}

describe("parseKernel", () => {
  it("recognises an Image, plain, with an EFI stub, compressed and in a zboot wrapper", async () => {
    const image = riscvImage(0x400, 0x3000);
    const expected = { format: "image", bytes: image, textOffset: 0x200000, memorySize: 0x3000 };
    assert.deepEqual(await parseKernel(image, WHAT), expected);
    assert.deepEqual(await parseKernel(new Uint8Array(gzipSync(image)), WHAT), expected);
    assert.deepEqual(await parseKernel(zboot("gzip", new Uint8Array(gzipSync(image))), WHAT), expected);
    assert.equal((await parseKernel(peImage(0x200), WHAT)).format, "image");
  });

  it("takes the file's length where the header states a smaller one", async () => {
    assert.equal(((await parseKernel(riscvImage(0x400, 0), WHAT)) as { memorySize: number }).memorySize, 0x400);
  });

  it("loads ELF segments at their physical addresses and translates a virtual entry; knows the symbols of HTIF", async () => {
    const content = encodeText("code");
    const file = elf({
      entry: 0xffffffff80000002n,
      symbols: { my_fromhost: 2n, tohost: 0x80001000n, tohost2: 3n },
      segments: [
        { physical: 0x80200000n, virtual: 0xffffffff80000000n, content, memorySize: 0x1000 },
        { physical: 0x80300000n, virtual: 0xffffffff80100000n, content: encodeText(""), memorySize: 0x2000 },
        { physical: 0n, virtual: 0n, content: encodeText(""), memorySize: 0 },
      ],
    });
    assert.deepEqual(await parseKernel(file, WHAT), {
      format: "elf",
      segments: [
        { address: 0x80200000, bytes: content, memorySize: 0x1000 },
        { address: 0x80300000, bytes: encodeText(""), memorySize: 0x2000 },
      ],
      entry: 0x80200002,
      symbols: new Map([["tohost", 0x80001000]]),
    });
  });

  const x86 = edited(new Uint8Array(0x400), (view) => {
    view.setUint16(0x1fe, 0xaa55, true);
    view.setUint32(0x202, 0x53726448, true);
  });
  const arm64 = edited(new Uint8Array(0x400), (view) => view.setUint32(0x38, 0x644d5241, true));
  const arm64Pe = edited(peImage(0x200, 0xaa64), (view) => view.setUint32(0x38, 0, true));
  const bigEndian = edited(riscvImage(0x400, 0x400), (view) => view.setUint32(0x18, 1, true));
  const bad: [string, Uint8Array, string, RegExp][] = [
    ["an empty file", new Uint8Array(0), "truncated", /empty/],
    ["a file of a few bytes", encodeText("hi"), "truncated", /2 bytes/],
    ["text", encodeText("x".repeat(1000)), "not-a-kernel", /no kernel/],
    ["an x86 kernel", x86, "wrong-architecture", /x86/],
    ["an arm64 kernel", arm64, "wrong-architecture", /arm64/],
    ["an arm64 EFI program", arm64Pe, "wrong-architecture", /arm64/],
    ["a big-endian kernel", bigEndian, "wrong-architecture", /big-endian/],
    ["an x86-64 ELF file", elf({ machine: 62 }), "wrong-architecture", /x86-64/],
    ["an ELF file with nothing to load", elf({}), "not-a-kernel", /nothing to load/],
    ["an ELF file cut short", elf({ segments: [{ physical: 0n, virtual: 0n, content: new Uint8Array(99), memorySize: 99 }] }).subarray(0, 130), "truncated", /cut short/],
    ["an Image whose sections are cut short", peImage(0x201), "truncated", /cut short/],
    ["a gzip file cut short", new Uint8Array(gzipSync(riscvImage(0x400, 0x400))).subarray(0, 20), "decompress", /gzip/],
    ["a zboot wrapper of a kind that Node cannot unpack", zboot("lzo", new Uint8Array(8)), "decompress", /lzo/],
    ["a zboot wrapper cut short", zboot("gzip", new Uint8Array(64)).subarray(0, 0x110), "truncated", /cut short/],
  ];
  for (const [name, file, code, message] of bad) {
    it(`says what is wrong with ${name}`, () => assert.rejects(parseKernel(file, WHAT), { code, message }));
  }

  it("never fails by anything but a HostelryError on damaged headers", async () => {
    const segments = [{ physical: 0x80200000n, virtual: 0x80200000n, content: encodeText("code"), memorySize: 8 }];
    for (const whole of [elf({ segments, sections: { ".modinfo": "a=b" } }), peImage(0x200)]) {
      for (let at = 0; at < Math.min(whole.length, 0x100); at++) {
        for (const value of [0x00, 0x7f, 0xff]) {
          const damaged = whole.slice();
          damaged[at] = value;
          await parseKernel(damaged, WHAT).catch((error: Error) => assert.equal(error.name, "HostelryError", `byte ${at} = ${value}: ${error.stack}`));
        }
      }
    }
  });
});

describe("parseFirmware", () => {
  it("takes ELF as ELF and all else as raw code", () => {
    assert.equal(parseFirmware(elf({ segments: [{ physical: 0x80000000n, virtual: 0x80000000n, content: encodeText("x"), memorySize: 1 }] }), "it").format, "elf");
    assert.deepEqual(parseFirmware(encodeText("code"), "it"), { format: "raw", bytes: encodeText("code") });
    assert.throws(() => parseFirmware(new Uint8Array(0), "it"), { code: "truncated" });
  });
});
