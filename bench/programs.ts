/**
 * What is measured: one row for each program. Iterations are set so that a run takes one to two seconds under QEMU's
 * translator on a machine of 2024; the checksum belongs to that count and is the same on every correct machine.
 */

export type Group = "integer" | "floating-point" | "memory" | "system" | "real";

/** The geometric mean of a group's ratios (reference's time ÷ ours) that is to be reached. */
export const TARGETS: Record<Group, number> = { integer: 1.5, "floating-point": 1.0, memory: 1.0, system: 1.0, real: 1.1 };

export const GROUPS = Object.keys(TARGETS) as Group[];

export interface Program {
  readonly name: string;
  readonly group: Group;
  /** As the guest's driver takes it; `{n}` is replaced by the iterations. */
  readonly command: string;
  readonly iterations: number;
  /** What the program prints as its checksum at `iterations`. */
  readonly checksum?: string;
  /**
   * For programs that work for a given time and print how much they did: rates by the guest's clock, read from their output.
   * Several count as their geometric mean. Without it the work is fixed, and the time that it takes counts.
   */
  readonly rates?: (output: string) => number[];
}

export const PROGRAMS: readonly Program[] = [
  own("integer", "coremix", 3500, "bcbacd0c47348ddb"),
  own("integer", "sha256", 1300, "c83977050eb8f1a0"),
  own("integer", "aes", 220, "86e7a5fc484a0e35"),
  own("integer", "chacha", 2500, "52589e0d0a10c1e6"),
  own("integer", "sort", 110, "0917e698b7055b55"),
  own("integer", "interp", 120, "fe56d9930255843c"),
  own("integer", "compress", 50, "daf4c5a6ca69f039"),
  own("floating-point", "linpack", 75, "b8cd1d31c3e2f5ff"),
  own("floating-point", "nbody", 270, "201e36c3f06a36dc"),
  own("floating-point", "libm", 500, "5328d4ecf7943b97"),
  own("memory", "memcpy", 20, "ef5ea21f9ce442ea"),
  own("memory", "memset", 130, "1fd5868fcef0c15f"),
  own("memory", "chase", 45, "c9dd77cb9a5d1ad9"),
  own("system", "getppid", 1200, "c9580e4211c2f7a2"),
  own("system", "pipe", 90, "926de83186758d78"),
  own("system", "fork", 800, "5da5444ca6cd0b15"),
  own("system", "exec", 280, "5e84732a1baa0909"),
  own("system", "faults", 22, "288a8984c73e76d7"),
  // -mtime=0: one pass of compression at each size of dictionary. Even so it measures the clock of the CPU for a second first.
  { name: "7z", group: "real", command: "7za b {n} -mmt1 -md19 -mtime=0", iterations: 1, rates: sevenZipRates },
  openssl("sha256", "-evp sha256"),
  openssl("aes", "-evp aes-128-cbc"),
  openssl("x25519", "ecdhx25519"),
  python("objects", 16, "57a3bd7b2e07dc98"),
  python("text", 16, "c9fd66677b025542"),
  python("numbers", 30, "fadca8726dccf139"),
];

function own(group: Group, name: string, iterations: number, checksum: string): Program {
  return { name, group, command: `/bench/${name} {n}`, iterations, checksum };
}

function python(name: string, iterations: number, checksum: string): Program {
  return { name: `python-${name}`, group: "real", command: `python3 /bench/${name}.py {n}`, iterations, checksum };
}

function openssl(name: string, algorithm: string): Program {
  const command = `openssl speed -elapsed -seconds {n} -bytes 16384 ${algorithm}`;
  return { name: `openssl-${name}`, group: "real", command, iterations: 1, rates: opensslRates };
}

/** "Avr:       908   101    801    812  |      13477   100   1096   1097": KiB/s packed and unpacked. */
function sevenZipRates(output: string): number[] {
  return [...output.matchAll(/^Avr:\s+(\d+)\s[^|]*\|\s+(\d+)\s/gm)].flatMap(([, packed, unpacked]) => [Number(packed), Number(unpacked)]);
}

/** "Doing sha256 ops for 1s on 16384 size blocks: 3321 sha256 ops in 1.00s" */
function opensslRates(output: string): number[] {
  return [...output.matchAll(/: (\d+) .* in ([\d.]+)s\s*$/gm)].map(([, count, seconds]) => Number(count) / Number(seconds));
}

/** Programs whose group or name contains one of the filters; all without any. */
export function selectPrograms(filters: readonly string[]): Program[] {
  return PROGRAMS.filter(({ name, group }) => filters.length === 0 || filters.some((filter) => group.includes(filter) || name.includes(filter)));
}

export function commandLine(program: Program, iterations: number): string {
  return program.command.replaceAll("{n}", String(iterations));
}
