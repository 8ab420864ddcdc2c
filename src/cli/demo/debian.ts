/** A Debian of the default image, that a demo boots and talks to: on the bare machine, or in a VM. */
import { describeEnd } from "#api/describe-end.ts";
import { MachineThread } from "#host/node/machine-thread.ts";
import { READY } from "#images/console-input.ts";
import { standardModel, type MachineKind } from "#machine/model.ts";
import type { VmStats } from "#monitor/action.ts";
import type { Technique } from "#monitor/cpu/technique.ts";
import { DEFAULT_IMAGE, imageCommands } from "../image.ts";
import type { Messages } from "../messages.ts";
import { startBare, startVm, type RunConfig, type Running } from "../running.ts";

export interface DebianOptions {
  readonly machine: MachineKind;
  /** Bytes. */
  readonly memory: number;
  /** Null: the bare machine, without a monitor. */
  readonly technique: Technique | null;
}

/** What a Debian boots from. */
export type Image = Pick<RunConfig, "kernel" | "initrd" | "append"> & { readonly release: string };

/** Milliseconds without a word on the console after which nothing is expected any more; and in all, since a kernel may go wrong again and again. */
const PATIENCE = 30_000;
const LONGEST = 300_000;

export async function openImage(messages: Messages): Promise<Image> {
  const { manifest, kernelPath, initrdPath } = await imageCommands.ensure(DEFAULT_IMAGE, {}, { progress: messages });
  return { kernel: kernelPath, initrd: initrdPath, append: `${manifest.append} hostelry.pipe=1`, release: manifest.kernel.release };
}

export class Debian {
  readonly #running: Running;
  #text = "";
  #lines = 0;
  #end: string | undefined;
  #heard = (): void => {};

  constructor(running: Running) {
    this.#running = running;
    void this.#collect();
  }

  static async start({ machine, memory, technique }: DebianOptions, { release: _, ...image }: Image): Promise<Debian> {
    const config: RunConfig = {
      ...image,
      memory,
      cpus: 1,
      clock: "host",
      model: { ...standardModel, kind: machine },
      drives: [],
      terminal: { columns: 80, rows: 24 },
      signature: false,
      interpreterOnly: false,
      technique: technique === null ? {} : { cpu: technique.cpu, mmu: technique.mmu, ...(technique.cpu === "binary-translation" ? { rewrite: technique.rewrite } : {}) },
    };
    const start = technique === null ? startBare(new MachineThread()) : startVm;
    return new Debian(await start(config, { started: () => {}, restarted: () => {}, warning: () => {} }));
  }

  /** Until its shell is ready. Returns why it never will be, or undefined. */
  booted(): Promise<string | undefined> {
    return this.#until(String.fromCharCode(READY));
  }

  /** Commands for its shell, to their end. Returns why that never came, or undefined. */
  async execute(commands: string): Promise<string | undefined> {
    this.#text = "";
    await this.#running.console.write(Buffer.from(`${commands}; echo d''one\n`));
    return this.#until("done\n");
  }

  /** Commands for its shell, that nobody waits for. */
  begin(commands: string): void {
    void this.#running.console.write(Buffer.from(`${commands}\n`));
  }

  /** How many its console has shown. */
  get lines(): number {
    return this.#lines;
  }

  /** How it ended, in words, if it did. */
  get end(): string | undefined {
    return this.#end;
  }

  /** The console's last line that is not empty and that `wanted` takes. */
  lastLine(wanted: (line: string) => boolean = () => true): string | undefined {
    return this.#text.split(/\r?\n/).map((line) => line.trimEnd()).findLast((line) => line !== "" && wanted(line));
  }

  /** Undefined of the bare machine. */
  async stats(): Promise<VmStats | undefined> {
    const { stats, result } = this.#running;
    if (stats === undefined) return undefined;
    // It may have ended, or end while it is asked.
    return Promise.race([stats(), result.then((ended) => ended.stats as VmStats)]).catch(async () => (await result).stats as VmStats);
  }

  async stop(): Promise<void> {
    this.#running.stop();
    await this.#running.result.catch(() => {});
  }

  async #until(text: string): Promise<string | undefined> {
    const deadline = performance.now() + LONGEST;
    while (performance.now() < deadline) {
      if (this.#text.includes(text)) return undefined;
      if (this.#end !== undefined) return this.#end;
      const before = this.#text.length;
      const late = Promise.withResolvers<void>();
      const timer = setTimeout(late.resolve, PATIENCE);
      await Promise.race([new Promise<void>((resolve) => (this.#heard = resolve)), late.promise]);
      clearTimeout(timer);
      if (this.#text.length === before && this.#end === undefined) return `it hangs: nothing on its console for ${PATIENCE / 1000} s`;
    }
    return `it comes to nothing in ${LONGEST / 1000} s`;
  }

  async #collect(): Promise<void> {
    const { console: port, result } = this.#running;
    const end = result.then(
      (ended) => void (this.#end = describeEnd(ended.end)),
      (error: unknown) => void (this.#end = error instanceof Error ? error.message : String(error)),
    );
    while (this.#end === undefined) {
      await Promise.race([port.output.waitForBytes(), end]);
      const text = Buffer.from(port.output.shift()).toString("latin1");
      this.#text += text;
      this.#lines += text.split("\n").length - 1;
      this.#heard();
    }
  }
}
