/** The scenes of `hostelry demo memory`: what is done to VMs, and what is to be seen then. */
import type { CrowdedMachine, CrowdedMachineOptions, Guest, GuestOptions } from "./crowded-machine.ts";
import type { MemorySceneName } from "./memory-sample.ts";

const MIB = 2 ** 20;

/** Bytes that are left to a VM that was promised twice as much, and had all of it. */
const HALF = 128 * MIB;

export const MACHINE: CrowdedMachineOptions = { harts: 2, memory: 384 * MIB, swap: true };
/** Where a VM of 256 MiB finds no frame, when it has booted and goes on. */
const SMALL_MACHINE: CrowdedMachineOptions = { harts: 1, memory: 136 * MIB, swap: false };

/** Balloons have time to be inflated before pages go to the swap file. */
const UNHURRIED = { high: 0.12, soft: 0.1, hard: 0.02, low: 0.01 } as const;

/** Where scenes are played. */
export interface Stage {
  readonly machine: CrowdedMachine;
  /** Another machine, for as long as `play` takes. */
  on(options: CrowdedMachineOptions, play: (stage: Stage) => Promise<void>): Promise<void>;
  boot(names: readonly string[], options: GuestOptions): Promise<Guest[]>;
  /** Shows what these have and do, once a second, after `what` is to be seen. Ends before its time if they do. */
  watch(phase: string, what: string, seconds: number, guests: readonly Guest[]): Promise<void>;
}

export interface MemoryScene {
  readonly title: string;
  play(stage: Stage): Promise<void>;
}

export const memoryScenes: Readonly<Record<MemorySceneName, MemoryScene>> = {
  theft: {
    title: "Theft",
    async play(stage) {
      const victim = await reader(stage);
      victim.restrict(HALF);
      await stage.watch("stolen", "Half of its frames are taken, any of them: what was there goes to a swap file. When Linux wants a page for what it reads next, it has to come back first, only to be written over. (The file is in this host's memory: a disk would be far slower.)", 5, [victim]);
      victim.restrict(Infinity);
      await stage.on(SMALL_MACHINE, async (small) => {
        const [other] = await small.boot(["b"], { memory: 256 * MIB });
        other!.goThrough();
        await small.watch("no swap file", "Another VM was promised as much, on a machine that has half of it and no swap file. It ends when it needs a page and there is no frame.", 20, [other!]);
      });
    },
  },
  balloon: {
    title: "The balloon",
    async play(stage) {
      const victim = await reader(stage);
      victim.inflateTo(HALF);
      await stage.watch("ballooned", "The same amount is taken by its balloon: Linux gives what it can spare, and reads on as before.", 6, [victim]);
      victim.inflateTo(Infinity);
    },
  },
  sharing: {
    title: "Sharing",
    async play(stage) {
      await stage.machine.clear();
      const guests = await stage.boot(["c", "d", "e"], { memory: 192 * MIB, shares: true });
      await Promise.all(guests.map((guest) => guest.fill(24)));
      for (const guest of guests) guest.goThrough(24, 0.1);
      await stage.watch("apart", "Three VMs do the same: they read 24 MiB again and again, at their ease. The kernel and the initramfs that they boot from they share from the start.", 2, guests);
      stage.machine.manage({ scanRate: 20_000 });
      await stage.watch("scanned", "The scanner looks at up to 20000 pages a second: pages that hold the same get one frame (SHARED), and those of zeros need none (ZERO).", 8, guests);
      stage.machine.manage({ scanRate: 0 });
    },
  },
  tax: {
    title: "Hoarding, and the tax",
    async play(stage) {
      await stage.machine.clear();
      stage.machine.manage({ rule: "pure-shares", ...UNHURRIED, samplePages: 200, samplePeriod: 2 });
      const [idle, busy] = await stage.boot(["idle", "busy"], { memory: 256 * MIB, managed: true });
      await idle!.fill(150);
      busy!.goThrough(128);
      await stage.watch("pure shares", "One VM has read 150 MiB once, and rests. The other reads the same 128 MiB again and again, and could keep them in memory if it had enough. They pay the same, so they have the same: the first hoards.", 6, [idle!, busy!]);
      stage.machine.manage({ rule: "idle-tax", idleTax: 0.75 });
      await stage.watch("idle tax 75 %", "An idle page costs four times as much as one in use now: memory goes to whoever uses it.", 8, [idle!, busy!]);
    },
  },
};

/** It reads on and on. */
async function reader(stage: Stage): Promise<Guest> {
  const present = stage.machine.guest("a");
  if (present !== undefined) return present;
  const [guest] = await stage.boot(["a"], { memory: 2 * HALF });
  guest!.goThrough();
  await stage.watch("alone", "A VM reads through its disk. Linux keeps what it has read, so all of its memory is full; but it won't read the same again for long, which nobody knows but Linux.", 6, [guest!]);
  return guest!;
}
