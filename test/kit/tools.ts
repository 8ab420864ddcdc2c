/** Programs that tests hold us against. Where they aren't installed, tests are skipped and say so; in CI that is a failure. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";

export const tools = {
  compiler: "riscv64-linux-gnu-gcc",
  assembler: "riscv64-linux-gnu-as",
  objcopy: "riscv64-linux-gnu-objcopy",
  objdump: "riscv64-linux-gnu-objdump",
  user: "qemu-riscv64",
  system: "qemu-system-riscv64",
} as const;

/** For a suite's `skip`: false if all are there. */
export function skipWithout(...names: (keyof typeof tools)[]): string | false {
  const missing = names.map((name) => tools[name]).filter((program) => spawnSync(program, ["--version"]).error !== undefined);
  if (missing.length === 0) return false;
  const reason = `${missing.join(" and ")} not installed`;
  if (process.env["CI"]) throw new Error(`${reason}: in CI no test may be skipped`);
  return reason;
}

/** For a suite's `skip`: false if the file, of Debian's package `from`, is there. */
export function skipWithoutFile(path: string, from: string): string | false {
  if (existsSync(path)) return false;
  const reason = `${path} (Debian's ${from}) not installed`;
  if (process.env["CI"]) throw new Error(`${reason}: in CI no test may be skipped`);
  return reason;
}

/** Runs a program to its end; its output. Fails with what it said. */
export function runTool(name: keyof typeof tools, args: readonly string[], input?: Uint8Array): Buffer {
  const { status, signal, stdout, stderr, error } = spawnSync(tools[name], args, {
    input: input ?? Buffer.alloc(0),
    maxBuffer: 2 ** 31,
    timeout: 120_000,
  });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${tools[name]} ${args.join(" ")}: status ${status ?? signal}: ${stderr.toString()}`);
  return stdout;
}

/** A folder that goes when the suite ends. To be called inside of a suite. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "hostelry-test-"));
  after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
