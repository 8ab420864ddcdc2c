/** A machine that has promised more memory than it has, with Debians that go through a disk. */
import { HostelryError } from "#base/errors.ts";
import { readShared } from "#host/node/boot-files.ts";
import { Harts, type Vm } from "#host/node/harts.ts";
import { FRAME_SIZE } from "#machine/frames.ts";
import type { MemoryChanges, MemoryUse, VmStats } from "#monitor/action.ts";
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runningOf } from "../running.ts";
import { Debian, type Image } from "./debian.ts";
import type { VmSample } from "./memory-sample.ts";

const MIB = 2 ** 20;
/** More than any of its VMs can keep in memory. */
const DISK_MIB = 256;
/** What is read at a time. */
const STEP_MIB = 4;
/** As large as all that VMs are ever promised. */
const SWAP = 1024 * MIB;

export interface CrowdedMachineOptions {
  readonly harts: number;
  /** Bytes. */
  readonly memory: number;
  readonly swap: boolean;
}

export interface GuestOptions {
  /** Bytes that it is promised. */
  readonly memory: number;
  /** Whether the memory manager may take of its memory; not, unless given. */
  readonly managed?: boolean;
  /** Whether its pages may be shared with other VMs'. */
  readonly shares?: boolean;
}

export class CrowdedMachine {
  readonly #harts: Harts;
  readonly #folder: string;
  readonly #disk: string;
  readonly #files: ReturnType<typeof readShared>;
  readonly #guests = new Map<string, Guest>();
  readonly #remove = (): void => rmSync(this.#folder, { recursive: true, force: true });

  constructor(image: Image, { swap, ...machine }: CrowdedMachineOptions) {
    this.#folder = mkdtempSync(join(tmpdir(), "hostelry-demo-"));
    process.on("exit", this.#remove);
    this.#disk = join(this.#folder, "disk");
    fillDisk(this.#disk);
    this.#harts = new Harts({ ...machine, ...(swap ? { swap: { path: join(this.#folder, "swap"), size: SWAP } } : {}) });
    // Until a scene is about sharing, nothing is shared by chance.
    this.manage({ scanRate: 0 });
    this.#files = readShared(image);
  }

  /** Boots some, to their prompts. */
  async boot(names: readonly string[], options: GuestOptions): Promise<Guest[]> {
    const files = await this.#files;
    return Promise.all(names.map(async (name) => {
      const vm = this.#harts.create({
        name,
        cpus: 1,
        memory: options.memory,
        clock: "host",
        drives: [{ path: this.#disk, readOnly: true }],
        terminal: { columns: 80, rows: 24 },
        allotment: { shares: 1, cap: 1 },
        ...(options.shares === true ? {} : { shareGroup: null }),
        ...(options.managed === true ? { entitlement: { min: 0, shares: 1 } } : {}),
      }, files);
      const debian = new Debian(runningOf(vm));
      const failure = await debian.booted();
      if (failure !== undefined) throw new HostelryError("boot", `${name} does not boot: ${failure}`);
      const guest = new Guest(name, vm, debian);
      this.#guests.set(name, guest);
      return guest;
    }));
  }

  guest(name: string): Guest | undefined {
    return this.#guests.get(name);
  }

  /** Stops those that are there. */
  async clear(): Promise<void> {
    await Promise.all([...this.#guests.values()].map((guest) => guest.stop()));
    this.#guests.clear();
  }

  get frames(): { readonly total: number; readonly free: number } {
    return { total: this.#harts.frames.total * FRAME_SIZE, free: this.#harts.frames.free * FRAME_SIZE };
  }

  manage(changes: MemoryChanges): void {
    this.#harts.memory.change(changes);
  }

  async close(): Promise<void> {
    await this.#harts.close();
    process.off("exit", this.#remove);
    this.#remove();
  }
}

export class Guest {
  readonly name: string;
  readonly #vm: Vm;
  readonly #debian: Debian;
  /** Whether it has work. */
  #works = false;
  #before = { at: 0, lines: 0, ins: 0 };

  constructor(name: string, vm: Vm, debian: Debian) {
    [this.name, this.#vm, this.#debian] = [name, vm, debian];
  }

  /** Goes through the first MiBs of its disk, again and again, with so many seconds' rest after each four; and Linux keeps in memory what it has read, as long as it can. */
  goThrough(mib = DISK_MIB, rest = 0): void {
    this.#works = true;
    this.#debian.begin(`${KEEP}; i=0; while :; do ${READ}; i=$(((i+${STEP_MIB})%${mib}))${rest === 0 ? "" : `; sleep ${rest}`}; done`);
  }

  /** Goes through them once. */
  async fill(mib: number): Promise<void> {
    await this.#debian.execute(`${KEEP}; i=0; while [ $i -lt ${mib} ]; do ${READ}; i=$((i+${STEP_MIB})); done`);
  }

  /** Leaves it so many bytes, and takes what it has beyond as host paging does: without a word to it. Infinity: as many as it was promised. */
  restrict(bytes: number): void {
    const limit = Math.min(bytes / FRAME_SIZE, this.#vm.holding.max);
    this.#vm.obey({ target: limit, balloon: 0, limit, blocked: false });
  }

  /** The same, by its balloon. */
  inflateTo(bytes: number): void {
    const { max } = this.#vm.holding;
    this.#vm.inflate(max - Math.min(bytes / FRAME_SIZE, max));
  }

  /** Since the last one. */
  async sample(): Promise<VmSample> {
    const stats = (await this.#debian.stats())!;
    const now = { at: performance.now(), lines: this.#debian.lines, ins: stats.paging.ins };
    const rate = (field: "lines" | "ins"): number => (1000 * (now[field] - this.#before[field])) / (now.at - this.#before.at);
    const sample = { name: this.name, ...use(stats), achieved: this.#works ? Math.round(rate("lines") * STEP_MIB * MIB) : null, pagedIn: Math.round(rate("ins")), end: this.#debian.end ?? null };
    this.#before = now;
    return sample;
  }

  stop(): Promise<void> {
    return this.#debian.stop();
  }
}

/** What was read of a disk goes when nobody has it open any more. */
const KEEP = "exec 9</dev/vda";
const READ = `dd if=/dev/vda of=/dev/null bs=1M count=${STEP_MIB} skip=$i 2>/dev/null; echo .`;

function use({ memory: { target: _, ...memory } }: VmStats): MemoryUse {
  return memory;
}

/** No two of its pages are alike. */
function fillDisk(path: string): void {
  const file = openSync(path, "wx");
  const block = new Float64Array(MIB / 8);
  for (let mib = 0; mib < DISK_MIB; mib++) {
    for (let page = 0; page < MIB; page += FRAME_SIZE) block[page / 8] = 1 + mib * MIB + page;
    writeSync(file, block);
  }
  closeSync(file);
}
