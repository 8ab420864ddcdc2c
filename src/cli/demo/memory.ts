/** How memory is taken from VMs, live: without asking, by the balloon, by sharing, and by what they pay for what they don't use. */
import { constants } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { ExitStatus } from "../exit-status.ts";
import { formatBytes, type Messages } from "../messages.ts";
import { printJson } from "../table.ts";
import { row, type Column } from "./columns.ts";
import { CrowdedMachine } from "./crowded-machine.ts";
import { openImage, type Image } from "./debian.ts";
import { memorySceneNames, summarize, type MemorySceneName, type PhaseSummary, type Sample, type VmSample } from "./memory-sample.ts";
import { MACHINE, memoryScenes, type Stage } from "./memory-scenes.ts";

export interface MemoryOptions {
  /** All if absent. */
  readonly scene?: MemorySceneName;
  readonly json?: boolean;
}

const MIB = 2 ** 20;
/** Milliseconds from sample to sample. */
const PERIOD = 1000;

const columns: readonly Column[] = [
  { head: "TIME", width: 5 },
  { head: "VM", width: 4 },
  ...["PROMISED", "MAPPED", "SHARED", "ZERO", "SAVED", "BALLOONED", "PAGED OUT", "ACTIVE", "BACK/S", "READS/S"].map((head) => ({ head, width: Math.max(head.length, 5) })),
];
const heads = row(columns, columns.map(({ head }) => [head]));
const WIDTH = heads.length - 1;
const text: readonly Column[] = [{ head: "", width: WIDTH }];

/** Whoever has seen enough leaves by one: what stands on the disk goes as the process exits. */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export async function demoMemory({ scene: wanted, json = false }: MemoryOptions, messages: Messages): Promise<void> {
  const image = await openImage(messages);
  const screen = json ? undefined : new Screen();
  screen?.paragraph(`A machine of ${formatBytes(MACHINE.memory)}, and Debians that read a disk. In MiB; BACK/S are pages that come back from the swap file in a second, READS/S is what a VM's work gets through.`);
  for (const signal of SIGNALS) process.once(signal, () => process.exit(ExitStatus.signal + constants.signals[signal]));
  const machine = new CrowdedMachine(image, MACHINE);
  try {
    const scenes = [];
    for (const scene of wanted === undefined ? memorySceneNames : [wanted]) {
      const { title, play } = memoryScenes[scene];
      screen?.paragraph(`── ${title}`);
      const samples: Sample[] = [];
      await play(stageOn(machine, { image, screen, samples, began: performance.now() }));
      const summary = summarize(samples);
      scenes.push({ scene, summary, samples });
      screen?.paragraph(...summary.map(describe));
    }
    if (json) printJson({ kernel: image.release, machine: MACHINE, scenes });
  } finally {
    await machine.close();
  }
}

interface Recording {
  readonly image: Image;
  readonly screen: Screen | undefined;
  readonly samples: Sample[];
  /** By `performance.now()`. */
  readonly began: number;
}

function stageOn(machine: CrowdedMachine, recording: Recording): Stage {
  const { image, screen, samples, began } = recording;
  return {
    machine,
    async on(options, play) {
      const other = new CrowdedMachine(image, options);
      try {
        await play(stageOn(other, recording));
      } finally {
        await other.close();
      }
    },
    async boot(names, options) {
      screen?.passing(`${names.join(", ")}: booting …`);
      return machine.boot(names, options);
    },
    async watch(phase, what, seconds, guests) {
      screen?.begin(what);
      await Promise.all(guests.map((guest) => guest.sample()));
      for (let second = 0; second < seconds; second++) {
        await sleep(PERIOD);
        const vms = await Promise.all(guests.map((guest) => guest.sample()));
        const sample = { phase, seconds: Number(((performance.now() - began) / 1000).toFixed(1)), ...machine.frames, vms };
        samples.push(sample);
        screen?.show(rows(sample));
        if (vms.every(({ end }) => end !== null)) break;
      }
      screen?.end();
    },
  };
}

/** On a terminal that is wide enough, a sample takes the place of the one before; elsewhere, they follow each other. */
class Screen {
  readonly #isLive = process.stdout.isTTY === true && process.stdout.columns > WIDTH;
  /** Lines of the last sample. */
  #shown = 0;

  paragraph(...lines: readonly string[]): void {
    this.#write(`${lines.map((line) => row(text, [[line]])).join("")}\n`);
  }

  /** Until something else is said. */
  passing(line: string): void {
    if (this.#isLive) this.#write(`${line}\r`);
  }

  begin(what: string): void {
    this.#write(`${row(text, [[what]])}\n${heads}`);
    this.#shown = 0;
  }

  show(lines: string): void {
    this.#write((this.#isLive && this.#shown > 0 ? `\x1b[${this.#shown}A\x1b[J` : "") + lines);
    this.#shown = lines.split("\n").length - 1;
  }

  end(): void {
    this.#write("\n");
  }

  #write(output: string): void {
    process.stdout.write((this.#isLive ? "\x1b[K" : "") + output);
  }
}

function rows({ seconds, vms }: Sample): string {
  const cells = vms.map((vm, i) => [i === 0 ? seconds.toFixed(1) : "", vm.name, ...amounts(vm), vm.pagedIn === 0 ? "-" : String(vm.pagedIn), vm.achieved === null ? "-" : inMib(vm.achieved)]);
  const ends = vms.filter(({ end }) => end !== null).map(({ name, end }) => row(text, [[`  ${name} has ended: ${end}`]]));
  return [...cells.map((line) => row(columns, line.map((cell) => [cell]))), ...ends].join("");
}

const amounts = (vm: VmSample): string[] =>
  [vm.promised, vm.mapped, vm.shared, vm.zero, vm.saved, vm.ballooned, vm.pagedOut, vm.active].map((bytes) => (bytes < MIB / 10 ? "-" : inMib(bytes)));

const inMib = (bytes: number): string => (bytes / MIB).toFixed(bytes < 10 * MIB ? 1 : 0);

const describe = ({ phase, vms }: PhaseSummary): string => `${phase.padEnd(14)}${vms.map(describeVm).join("; ")}`;

function describeVm(vm: VmSample): string {
  if (vm.end !== null) return `${vm.name} ended`;
  const facts = [`has ${inMib(vm.mapped)} MiB`, ...(vm.saved < MIB ? [] : [`saves ${inMib(vm.saved)} MiB`]), ...(vm.achieved === null ? [] : [`reads ${inMib(vm.achieved)} MiB/s`])];
  return `${vm.name} ${facts.join(", ")}`;
}
