/** A hart on which single accesses are tried, in a scene. */
import assert from "node:assert/strict";
import { TestHart } from "../kit/hart.ts";
import { deviceValue, type DeviceWrite, type Outcome } from "./outcome.ts";
import type { GuestRegisters } from "./model.ts";
import { codePhysical, device, ramBase, ramSize, type Scene } from "./scene.ts";
import { hypervisorUses, uses, type AccessStep } from "./steps.ts";

const fences = ["sfence.vma", "hfence.vvma", "hfence.gvma"] as const;
/** Svinval's, which stand between `sfence.w.inval` and `sfence.inval.ir`. */
const invalidations = ["sinval.vma", "hinval.vvma", "hinval.gvma"] as const;

/** The code page: a handler that goes nowhere, then all instructions that the test uses, each at its place. */
const texts = [
  "j .",
  "csrw mstatus, a1",
  "csrw satp, a1",
  "csrw menvcfg, a1",
  "csrw henvcfg, a1",
  "csrw hstatus, a1",
  "csrw hgatp, a1",
  "csrw vsatp, a1",
  "csrw vsstatus, a1",
  ...[...fences, ...invalidations].flatMap((fence) => [`${fence} zero, zero`, `${fence} a0, zero`, `${fence} zero, a1`, `${fence} a0, a1`]),
  "sfence.w.inval",
  "sfence.inval.ir",
  ...Object.keys({ ...uses, ...hypervisorUses }).filter((text) => text !== "fetch"),
];
export const codeSource = texts.join("\n");
export const codeOffset = (text: string): bigint => BigInt(texts.indexOf(text) * 4);

const A0 = 10;
const A1 = 11;
const A2 = 12;
const T0 = 5;
const untouched = 0x5a5a5a5a5a5a5a5an;

export class Machine {
  readonly hart: TestHart;
  readonly writes: DeviceWrite[] = [];

  constructor() {
    const inDevice = (address: number, size: number): boolean => address >= device.base && address + size <= device.base + device.size;
    this.hart = new TestHart({
      ramSize,
      // Few, so that they are thrown away now and then.
      predecodedPages: 24,
      host: {
        mmioRead: (_state, address, size) => {
          if (!inDevice(address >>> 0, size)) return 1;
          this.hart.state.set("mmioValue", deviceValue(address, size));
          return 0;
        },
        mmioWrite: (_state, address, size) => {
          if (!inDevice(address >>> 0, size)) return 1;
          this.writes.push({ address, size, value: BigInt.asUintN(8 * size, this.hart.get("mmioValue")) });
          return 0;
        },
      },
    });
  }

  prepare(scene: Pick<Scene, "ram" | "pmp">): void {
    const { hart } = this;
    hart.reset();
    hart.load(ramBase, scene.ram);
    hart.program(codeSource, codePhysical);
    scene.pmp.forEach(({ config, address }, i) => {
      hart.state.set("pmpaddr", address, i);
      const half = i >> 3;
      hart.state.set("pmpcfg", hart.get("pmpcfg", half) | (BigInt(config) << BigInt(8 * (i & 7))), half);
    });
    hart.state.set("mtvec", BigInt(codePhysical));
    hart.state.set("senvcfg", 0xf0n);
    hart.settle();
  }

  /** One instruction in machine mode. */
  step(text: string, a1 = 0n, a0 = 0n): void {
    const { state, instance, map } = this.hart;
    state.set("privilege", 3);
    instance.exports.selectBank(map.hart);
    state.set("x", a0, A0);
    state.set("x", a1, A1);
    state.set("pc", BigInt(codePhysical) + codeOffset(text));
    this.hart.run(1);
  }

  /** One instruction of the test; what became of it. */
  access({ text, registers, address, data }: AccessStep, pc: bigint): Outcome {
    const { hart } = this;
    const { exports } = hart.instance;
    const { privilege, sum, mxr, mprv, mpp, satp, adue, pbmte, guest } = registers;
    this.step("csrw satp, a1", satp);
    if (guest) this.#setGuest(guest);
    this.#setEnvironment("menvcfg", adue, pbmte);
    const below = privilege === 3 ? mpp : privilege;
    const status =
      (BigInt(below) << 11n) | (BigInt(mprv) << 17n) | (BigInt(sum) << 18n) | (BigInt(mxr) << 19n) | (BigInt(guest?.mpv ?? false) << 39n);
    this.step("csrw mstatus, a1", status);
    // Not by MRET: the hart fetches ahead of its budget, and would take that trap at once.
    const isGuest = guest?.v ?? false;
    if (isGuest) exports.enterGuest(hart.map.hart);
    hart.state.set("privilege", privilege | (isGuest ? 4 : 0));
    exports.selectBank(hart.map.hart);
    this.writes.length = 0;
    const result = text === "fetch" ? T0 : A2;
    for (const [register, value] of [[A0, address], [A1, data], [result, untouched]] as const) hart.state.set("x", value, register);
    hart.state.set("mcause", untouched);
    hart.state.set("pc", pc);
    hart.run(1);
    const trap = hart.get("mcause");
    if (trap !== untouched) {
      assert.equal(hart.get("mepc"), pc, "mepc");
      assert.equal(hart.get("privilege"), 3n);
      // The handler is in machine mode, with what it is allowed there.
      const [now, mtval2, mtinst] = [hart.get("mstatus"), hart.get("mtval2"), hart.get("mtinst")];
      const second = { mtval2, mtinst, mpv: (now >> 39n) & 1n, gva: (now >> 38n) & 1n };
      return { trap: Number(trap), value: hart.get("mtval"), ...(guest ? { second } : {}) };
    }
    if (isGuest) exports.leaveGuest(hart.map.hart);
    const value = hart.x(result);
    return { result: value === untouched ? undefined : value, device: [...this.writes] };
  }

  #setGuest({ vsatp, hgatp, sum, mxr, adue, pbmte, spvp }: GuestRegisters): void {
    this.step("csrw hgatp, a1", hgatp);
    this.step("csrw vsatp, a1", vsatp);
    this.step("csrw vsstatus, a1", (BigInt(sum) << 18n) | (BigInt(mxr) << 19n));
    // HU, so that user mode may act for a guest too.
    this.step("csrw hstatus, a1", (1n << 9n) | (BigInt(spvp) << 8n));
    this.#setEnvironment("henvcfg", adue, pbmte);
  }

  #setEnvironment(name: "menvcfg" | "henvcfg", adue: boolean, pbmte: boolean): void {
    const environment = (BigInt(adue) << 61n) | (BigInt(pbmte) << 62n) | 0xf0n;
    if (environment !== this.hart.get(name)) this.step(`csrw ${name}, a1`, environment);
  }
}
