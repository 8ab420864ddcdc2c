/** `hostelry doctor`: what is here, and what is missing for what. */
import { findProgram } from "#host/node/command.ts";
import type { Command } from "commander";
import { existsSync } from "node:fs";

interface Finding {
  readonly what: string;
  /** Where it is, or its version; null if it is missing. */
  readonly found: string | null;
  /** What can't be done without it, and how to get it. */
  readonly without: string;
  /** Whether `hostelry run` itself can't do without. */
  readonly required: boolean;
}

const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
const OPENSBI = "/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin";
const NODE_MAJOR = 24;

function findings(): Finding[] {
  const program = (names: readonly string[], without: string): Finding => {
    const found = names.map((name) => findProgram(name)).find((path) => path !== null) ?? null;
    return { what: names[0]!, found, without, required: false };
  };
  const file = (what: string, path: string, without: string): Finding =>
    ({ what, found: existsSync(path) ? path : null, without, required: false });
  const node = process.versions.node;
  return [
    {
      what: `Node ${NODE_MAJOR} or newer`,
      found: Number.parseInt(node, 10) >= NODE_MAJOR ? node : null,
      without: `nothing works: run "npm ci", which brings Node ${NODE_MAJOR}`,
      required: true,
    },
    program(["apt-get"], "images can't be built through apt: name a mirror, hostelry image build --mirror URL"),
    file("Debian's keyring", KEYRING, "apt can't verify Debian's signatures: apt install debian-archive-keyring"),
    program(["gpgv", "sqv"], "signatures of a mirror named by --mirror can't be verified: apt install gpgv"),
    program(["riscv64-linux-gnu-gcc"], "benchmarks can't build guest programs: apt install gcc-riscv64-linux-gnu libc6-dev-riscv64-cross"),
    program(["qemu-system-riscv64"], "benchmarks and tests have nothing to compare with: apt install qemu-system-misc"),
    program(["qemu-riscv64", "qemu-riscv64-static"], "instructions can't be tested against QEMU: apt install qemu-user"),
    file("OpenSBI", OPENSBI, "tests don't boot in M-mode: apt install opensbi"),
    program(["mkfs.ext4"], "tests make no disks: apt install e2fsprogs"),
  ];
}

export function addDoctorCommand(program: Command, finish: (status: number) => void): void {
  program.command("doctor")
    .description("Look at what is here, and say what is missing for what")
    .option("--json", "as JSON")
    .action(({ json }: { json?: boolean }) => {
      const all = findings();
      if (json === true) process.stdout.write(`${JSON.stringify(all, null, 2)}\n`);
      else for (const { what, found, without } of all) {
        process.stdout.write(found === null ? `missing  ${what}: ${without}\n` : `ok       ${what}: ${found}\n`);
      }
      finish(all.some(({ found, required }) => found === null && required) ? 1 : 0);
    });
}
