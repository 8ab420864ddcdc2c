/** Runs bin/hostelry as a user would, in a process of its own. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { HostelryError } from "#base/errors.ts";
import { DEFAULT_IMAGE, imageCommands } from "#cli/image.ts";
import type { StoredImage } from "#host/node/image-store.ts";
import { hostelryDirectories } from "#host/node/xdg.ts";
import { SILENT } from "#images/progress.ts";
import { elf } from "#images/testing.ts";
import { assemble } from "#riscv/assemble.ts";

export const executable = fileURLToPath(new URL("../../bin/hostelry", import.meta.url));

export interface Finished {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** All of stdin; nothing if absent. */
  readonly input?: string | Uint8Array;
  readonly environment?: Readonly<Record<string, string>>;
  /** Called with all of stdout so far, whenever there is more. */
  readonly onOutput?: (stdout: string, kill: (signal: NodeJS.Signals) => void) => void;
  readonly timeoutMs?: number;
}

export function hostelry(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const { input = "", environment = {}, onOutput, timeoutMs = 120_000 } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [executable, ...args], { env: { ...process.env, ...environment }, timeout: timeoutMs, killSignal: "SIGKILL" });
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("latin1").on("data", (text: string) => {
      stdout += text;
      onOutput?.(stdout, (signal) => child.kill(signal));
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => void (stderr += text));
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, stdout, stderr }));
    // A machine that ends before it has read all is no error of the test's.
    child.stdin.on("error", () => {});
    child.stdin.end(input);
  });
}

/** Why something that a suite needs isn't there, for its `skip`. */
export interface Missing {
  readonly skip: string;
}

/** The default image, built if it isn't there. */
export function defaultImage(): Promise<{ readonly image: StoredImage } | Missing> {
  return orMissing("no default image", async () => ({ image: await imageCommands.ensure(DEFAULT_IMAGE, {}, { progress: SILENT }) }));
}

export interface TestImage {
  readonly name: string;
  readonly packages: readonly string[];
  readonly modules: readonly string[];
}

/** An image beside the default one, built if it isn't there; kept where only tests look, which is what `environment` tells `hostelry`. */
export function testImage(options: TestImage): Promise<{ readonly environment: Readonly<Record<string, string>> } | Missing> {
  const data = join(hostelryDirectories().cache, "test");
  const directories = { ...hostelryDirectories(), data: join(data, "hostelry") };
  return orMissing(`no image ${options.name}`, async () => {
    const present = (await imageCommands.list({ directories })).find(({ name }) => name === options.name);
    const isRight = present?.current === true && `${present.packages}` === `${options.packages}`;
    if (!isRight) await imageCommands.build(options, { progress: SILENT, directories });
    return { environment: { XDG_DATA_HOME: data } };
  });
}

async function orMissing<T>(what: string, find: () => Promise<T>): Promise<T | Missing> {
  try {
    return await find();
  } catch (error) {
    if (!(error instanceof HostelryError)) throw error;
    const reason = `${what}: ${error.message}`;
    if (process.env["CI"]) throw new Error(`${reason}: in CI no test may be skipped`);
    return { skip: reason };
  }
}

/** A program for `--bios`: machine code for the start of memory, in M-mode. Returns its path. */
export function bareProgram(source: string): string {
  return programFile("program.bin", assemble(source, { base: MEMORY }));
}

/** The same as an ELF file, with `memorySize` bytes of memory, and symbols for it and for the source. */
export function elfProgram(source: string, memorySize: number, symbols: Readonly<Record<string, number>>): string {
  const content = assemble(source, { base: MEMORY, symbols });
  const start = BigInt(MEMORY);
  return programFile("program.elf", elf({
    entry: start,
    segments: [{ physical: start, virtual: start, content, memorySize }],
    symbols: Object.fromEntries(Object.entries(symbols).map(([name, value]) => [name, BigInt(value)])),
  }));
}

const MEMORY = 0x80000000;

let programs: string | undefined;
let programCount = 0;

function programFile(name: string, bytes: Uint8Array): string {
  if (programs === undefined) {
    const folder = mkdtempSync(join(tmpdir(), "hostelry-test-"));
    process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
    programs = folder;
  }
  const path = join(programs, `${programCount++}-${name}`);
  writeFileSync(path, bytes);
  return path;
}
