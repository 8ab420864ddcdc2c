/**
 * HLV, HLVX and HSV (H extension, "Hypervisor Virtual-Machine Load and Store Instructions"): loads and stores as if V = 1, with the privilege that
 * hstatus.SPVP says. Nothing of it is cached: they are rare, and no bank is theirs.
 */
import { call, i32, i64, type Expr, type FunctionReference } from "#wasm/expression.ts";
import type { FunctionBuilder, Local } from "#wasm/function.ts";
import { cause, hypervisorStatus, virtualBit } from "../csr-bits.ts";
import type { AddressTranslation } from "./address-translation.ts";
import { bySize, crossesPage, device } from "./memory-access.ts";
import { access } from "./physical-memory-protection.ts";
import { bits, hostAddress, inRam, State, type Program } from "./program.ts";

export interface VirtualMachineAccess {
  /** (state, virtual, log2 size) → i64, zero-extended: HLV, and HLVX, which reads what may be executed. */
  readonly load: FunctionReference;
  readonly loadExecutable: FunctionReference;
  /** (state, virtual, log2 size, value): HSV. */
  readonly store: FunctionReference;
}

type DeviceOperands = Parameters<typeof device> extends [unknown, unknown, ...infer Rest] ? Rest : never;

export function defineVirtualMachineAccess(
  program: Program,
  translation: AddressTranslation,
  codeStore: FunctionReference,
): VirtualMachineAccess {
  const { module, map, host } = program;

  const leaveIf = (f: FunctionBuilder, condition: Expr): void =>
    f.if(condition, () => {
      new State(f).set("faultAsGuest", 1);
      if (f.results.length > 0) f.return(0);
      else f.return();
    });

  /** The physical address of the first byte, if all of the span, which lies in one page, may be accessed. */
  const translated = (f: FunctionBuilder, state: State, virtual: Local, size: Local, kind: number): Local => {
    const mode = f.let(i32.or(bits(state.get("hstatus"), hypervisorStatus.spvp, 1), virtualBit));
    const physical = f.let(call(translation.translateAsGuest, state.base, virtual, kind, mode));
    leaveIf(f, i64.eq(physical, -1));
    f.if(i32.eqz(call(translation.pmpCheck, state.base, physical, size, kind, mode)), () => {
      state.fault(kind === access.write ? cause.storeAccess : cause.loadAccess, virtual);
      leaveIf(f, i32.const(1));
    });
    return physical;
  };

  /** As for all accesses that lie in two pages, see memory-access.ts: nothing is read or written before both are known to be there. */
  const bothInMemory = (f: FunctionBuilder, state: State, virtual: Local, size: Local, kind: number): void => {
    const one = f.let(i32.const(1));
    const second = f.let(i64.and(i64.add(virtual, i64.extendI32U(size)), -4096));
    for (const page of [virtual, second]) {
      state.set("faultOffset", i32.wrap(i64.sub(page, virtual)));
      const physical = translated(f, state, page, one, kind);
      f.if(i32.eqz(inRam(map, physical)), () => {
        state.fault(kind === access.write ? cause.storeAccess : cause.loadAccess, page);
        leaveIf(f, i32.const(1));
      });
    }
    state.set("faultOffset", 0);
  };

  /** Where an access lies in two pages, byte by byte: `each` gets the byte's address and its position in the value. */
  const bytewise = (f: FunctionBuilder, state: State, virtual: Local, size: Local, each: (at: Expr, shift: Expr) => void): void => {
    const index = f.local("i32");
    f.loop((next) => {
      each(i64.add(virtual, i64.extendI32U(index)), i64.extendI32U(i32.shl(index, 3)));
      f.if(state.get("fault"), () => state.set("faultOffset", index));
      leaveIf(f, state.get("fault"));
      f.set(index, i32.add(index, 1));
      f.branchIf(next, i32.ltU(index, size));
    });
  };

  const accessDevice = (f: FunctionBuilder, state: State, ...operands: DeviceOperands): void => {
    state.set("faultAsGuest", 1);
    device(f, state, ...operands);
    state.set("faultAsGuest", 0);
  };

  const load = (name: string, kind: number): FunctionReference =>
    module.function(name, ["i32", "i64", "i32"], ["i64"], (f) => {
      const [state, virtual, log] = [new State(f), f.parameter(1), f.parameter(2)];
      const size = f.let(i32.shl(1, log));
      f.if(crossesPage(virtual, size), () => {
        bothInMemory(f, state, virtual, size, kind);
        const value = f.local("i64");
        bytewise(f, state, virtual, size, (at, shift) => f.set(value, i64.or(value, i64.shl(call(f, state.base, at, 0), shift))));
        f.return(value);
      });
      const physical = translated(f, state, virtual, size, kind);
      f.if(inRam(map, physical), () => {
        const at = f.let(hostAddress(map, physical));
        f.return(bySize(log, [i64.load8U(at), i64.load16U(at), i64.load32U(at), i64.load(at)]));
      });
      accessDevice(f, state, host.mmioRead, physical, virtual, size, cause.loadAccess);
      f.push(state.get("mmioValue"));
    });

  const store = module.function("hypervisorStore", ["i32", "i64", "i32", "i64"], [], (f) => {
    const [state, virtual, log, value] = [new State(f), f.parameter(1), f.parameter(2), f.parameter(3)];
    const size = f.let(i32.shl(1, log));
    f.if(crossesPage(virtual, size), () => {
      bothInMemory(f, state, virtual, size, access.write);
      bytewise(f, state, virtual, size, (at, shift) => f.call(f, [state.base, at, 0, i64.shrU(value, shift)]));
      f.return();
    });
    const physical = translated(f, state, virtual, size, access.write);
    f.if(inRam(map, physical), () => {
      const at = f.let(hostAddress(map, physical));
      f.call(codeStore, [state.base, at, size]);
      const kinds = ["i64_8", "i64_16", "i64_32", "i64"] as const;
      kinds.forEach((kind, i) => f.if(i32.eq(log, i), () => f.store(kind, at, value)));
      f.return();
    });
    state.set("mmioValue", value);
    accessDevice(f, state, host.mmioWrite, physical, virtual, size, cause.storeAccess);
    state.set("attention", 1);
  });

  return {
    load: load("hypervisorLoad", access.read),
    loadExecutable: load("hypervisorLoadExecutable", access.readExecutable),
    store,
  };
}
