import { concatenate } from "./byte-reader.ts";
import { encodeText } from "./text.ts";

/** Small archives for tests, written independently of the readers. */

export interface TarSpec {
  readonly path: string;
  readonly type?: string;
  readonly mode?: number;
  readonly content?: string | Uint8Array;
  readonly target?: string;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: number;
  readonly major?: number;
  readonly minor?: number;
  /** The size field, to lie with. */
  readonly size?: string;
}

/** "hello hello hello hello\n", as `xz --check=crc32` compresses it. */
export const XZ_HELLO = Uint8Array.from(atob("/Td6WFoAAAFpIt42AgAhARYAAAB0L+Wj4AAXAAxdADQZSe6N6VYKwSGwAAAAiFkLAAEkGNvMAsKQQpkNAQAAAAABWVo="), (character) => character.charCodeAt(0));

export function tarArchive(specs: readonly TarSpec[]): Uint8Array {
  const blocks = specs.flatMap((spec) => {
    const content = typeof spec.content === "string" ? encodeText(spec.content) : (spec.content ?? new Uint8Array(0));
    return [tarHeader(spec, content.length), content, new Uint8Array((512 - (content.length % 512)) % 512)];
  });
  return join([...blocks, new Uint8Array(1024)]);
}

export function arArchive(members: readonly (readonly [name: string, content: Uint8Array])[]): Uint8Array {
  const parts = members.flatMap(([name, content]) => {
    const header = `${name.padEnd(16)}${"0".padEnd(12)}${"0".padEnd(6)}${"0".padEnd(6)}${"100644".padEnd(8)}${String(content.length).padEnd(10)}\`\n`;
    return [encodeText(header), content, encodeText(content.length % 2 === 1 ? "\n" : "")];
  });
  return join([encodeText("!<arch>\n"), ...parts]);
}

export function deb(files: readonly TarSpec[]): Uint8Array {
  return arArchive([["debian-binary", encodeText("2.0\n")], ["control.tar", encodeText("odd")], ["data.tar", tarArchive(files)]]);
}

/** A RISC-V Linux Image of `length` bytes that says it takes `memorySize`. */
export function riscvImage(length: number, memorySize: number, textOffset = 0x200000): Uint8Array {
  const image = new Uint8Array(length);
  const view = new DataView(image.buffer);
  view.setBigUint64(0x08, BigInt(textOffset), true);
  view.setBigUint64(0x10, BigInt(memorySize), true);
  view.setUint32(0x38, 0x05435352, true);
  return image;
}

export interface ElfSpec {
  readonly machine?: number;
  readonly entry?: bigint;
  readonly segments?: readonly { readonly physical: bigint; readonly virtual: bigint; readonly content: Uint8Array; readonly memorySize: number }[];
  readonly sections?: Readonly<Record<string, string>>;
  readonly symbols?: Readonly<Record<string, bigint>>;
}

interface ElfTestSection {
  readonly name: string;
  readonly type: number;
  readonly content: Uint8Array;
  readonly link: number;
}

const SHT_PROGBITS = 1;
const SHT_SYMTAB = 2;
const SHT_STRTAB = 3;

/** A 64-bit little-endian ELF file. */
export function elf({ machine = 243, entry = 0n, segments = [], sections = {}, symbols = {} }: ElfSpec): Uint8Array {
  const named: readonly ElfTestSection[] = [
    ...Object.entries(sections).map(([name, text]) => ({ name, type: SHT_PROGBITS, content: encodeText(text), link: 0 })),
    { name: ".symtab", type: SHT_SYMTAB, content: symbolTable(symbols), link: Object.keys(sections).length + 1 },
    { name: ".strtab", type: SHT_STRTAB, content: encodeText(nameTable(Object.keys(symbols))), link: 0 },
  ];
  const names = encodeText(nameTable([...named.map(({ name }) => name), ".shstrtab"]));
  const programHeaders = segments.length * 56;
  let offset = 64 + programHeaders;
  const contents: Uint8Array[] = [];
  const place = (content: Uint8Array): number => {
    contents.push(content);
    offset += content.length;
    return offset - content.length;
  };
  const headers = segments.map(({ physical, virtual, content, memorySize }) => {
    const at = place(content);
    return record(56, (view) => {
      view.setUint32(0, 1, true);
      view.setBigUint64(8, BigInt(at), true);
      view.setBigUint64(16, virtual, true);
      view.setBigUint64(24, physical, true);
      view.setBigUint64(32, BigInt(content.length), true);
      view.setBigUint64(40, BigInt(memorySize), true);
    });
  });
  let nameOffset = 1;
  const sectionHeaders = [...named, { name: ".shstrtab", type: SHT_STRTAB, content: names, link: 0 }].map(({ name, type, content, link }) => {
    const at = place(content);
    const header = record(64, (view) => {
      view.setUint32(0, nameOffset, true);
      view.setUint32(4, type, true);
      view.setBigUint64(24, BigInt(at), true);
      view.setBigUint64(32, BigInt(content.length), true);
      view.setUint32(40, link, true);
    });
    nameOffset += name.length + 1;
    return header;
  });
  const header = record(64, (view) => {
    [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1].forEach((byte, index) => view.setUint8(index, byte));
    view.setUint16(16, 2, true);
    view.setUint16(18, machine, true);
    view.setBigUint64(24, entry, true);
    view.setBigUint64(32, 64n, true);
    view.setBigUint64(40, BigInt(offset), true);
    view.setUint16(54, 56, true);
    view.setUint16(56, segments.length, true);
    view.setUint16(58, 64, true);
    view.setUint16(60, sectionHeaders.length, true);
    view.setUint16(62, sectionHeaders.length - 1, true);
  });
  return join([header, ...headers, ...contents, ...sectionHeaders]);
}

function nameTable(names: readonly string[]): string {
  return `\0${names.map((name) => `${name}\0`).join("")}`;
}

/** All symbols are the first section's. */
function symbolTable(symbols: Readonly<Record<string, bigint>>): Uint8Array {
  let nameOffset = 1;
  return join(Object.entries(symbols).map(([name, value]) => record(24, (view) => {
    view.setUint32(0, nameOffset, true);
    view.setUint16(6, 1, true);
    view.setBigUint64(8, value, true);
    nameOffset += name.length + 1;
  })));
}

function record(length: number, fill: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(length);
  fill(new DataView(bytes.buffer));
  return bytes;
}

function tarHeader(spec: TarSpec, size: number): Uint8Array {
  const header = new Uint8Array(512);
  const put = (offset: number, text: string): void => header.set(encodeText(text), offset);
  const octal = (value: number, digits: number): string => value.toString(8).padStart(digits, "0");
  put(0, spec.path);
  put(100, octal(spec.mode ?? 0o644, 7));
  put(108, octal(spec.uid ?? 0, 7));
  put(116, octal(spec.gid ?? 0, 7));
  put(124, spec.size ?? octal(size, 11));
  put(136, octal(spec.mtime ?? 0, 11));
  put(148, " ".repeat(8));
  put(156, spec.type ?? "0");
  put(157, spec.target ?? "");
  put(257, "ustar\0" + "00");
  put(329, octal(spec.major ?? 0, 7));
  put(337, octal(spec.minor ?? 0, 7));
  put(148, `${octal(header.reduce((sum, byte) => sum + byte, 0), 6)}\0 `);
  return header;
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  return concatenate(parts, parts.reduce((total, part) => total + part.length, 0));
}
