import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { cpuTechniques, guestKnows } from "#monitor/cpu/technique.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** What a machine is given: the same for all of them. */
export interface GuestFiles {
  readonly kernel: string;
  readonly initrd: string;
  readonly append: string;
  /** MiB. */
  readonly memory: number;
}

export interface MachineKind {
  readonly name: string;
  /** Program and arguments. Its standard input and output are the guest's console. */
  readonly command: (guest: GuestFiles) => string[];
  /** Arguments that make it print an object of counters when it ends; absent if it has none. */
  readonly stats?: readonly string[];
  /** One line for the record. */
  readonly version: () => string;
}

const hostelry = (name: string, what: string, ...options: readonly string[]): MachineKind => ({
  name,
  command: ({ kernel, initrd, append, memory }) => [
    ...[`${ROOT}bin/hostelry`, "run", ...options, "--kernel", kernel, "--initrd", initrd],
    ...["--append", append, "--memory", `${memory}M`],
  ],
  stats: ["--stats"],
  version: () => `${what}hostelry ${firstLine("git", ["-C", ROOT, "describe", "--always", "--dirty"])}, Node ${process.version}`,
});

const MACHINES: readonly MachineKind[] = [
  hostelry("hostelry", "", "--bare"),
  hostelry("vm", "a VM of "),
  ...cpuTechniques.filter((cpu) => !guestKnows({ cpu })).map((cpu) => hostelry(cpu, `a VM, by ${cpu}, of `, "--cpu", cpu)),
  {
    name: "qemu",
    command: ({ kernel, initrd, append, memory }) => [
      ...["qemu-system-riscv64", "-M", "virt", "-cpu", "rv64", "-m", `${memory}`, "-nographic", "-no-reboot"],
      ...["-accel", "tcg,thread=single", "-kernel", kernel, "-initrd", initrd, "-append", append],
    ],
    version: () => `${firstLine("qemu-system-riscv64", ["--version"])}, -M virt -cpu rv64 -accel tcg,thread=single`,
  },
];

/**
 * The machine of this name, or one made from a command line in which {kernel}, {initrd}, {append} and {memory} (in MiB)
 * are put in, so that any other emulator, or another checkout, can be measured.
 */
export function findMachine(nameOrTemplate: string): MachineKind {
  const known = MACHINES.find(({ name }) => name === nameOrTemplate);
  if (known !== undefined) return known;
  const words = nameOrTemplate.split(/\s+/).filter((word) => word !== "");
  return {
    name: words[0]?.split("/").pop() ?? "",
    command: (guest) => words.map((word) => word.replace(/\{(kernel|initrd|append|memory)\}/g, (_, key: keyof GuestFiles) => `${guest[key]}`)),
    version: () => nameOrTemplate,
  };
}

function firstLine(program: string, args: string[]): string {
  try {
    return execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).split("\n")[0];
  } catch {
    return `${program}: unknown version`;
  }
}
