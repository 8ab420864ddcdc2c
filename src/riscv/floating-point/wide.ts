/** Integers of 128 bits in two halves of 64, and shifts to the right that end in a sticky bit. */
import { conditional, i64, type Expr, type FunctionReference } from "#wasm/expression.ts";
import type { Local } from "#wasm/function.ts";
import type { ModuleBuilder } from "#wasm/module.ts";

/** value >>> count (an i64 ≥ 0 of any size), bit 0 sticky. Uses `count` three times: let it be cheap. */
export function shiftRightSticky(value: Local, count: Expr): Expr {
  const cutOff = i64.and(value, i64.sub(i64.shl(1, count), 1));
  const within = i64.or(i64.shrU(value, count), i64.extendI32U(i64.ne(cutOff, 0)));
  return conditional(i64.ltU(count, 64), within, i64.extendI32U(i64.ne(value, 0)));
}

/** (high, low, count ≥ 0) → high, low: shifts right, bit 0 of low sticky. */
export function defineShiftRightSticky128(module: ModuleBuilder): FunctionReference {
  return module.function("shiftRightSticky128", ["i64", "i64", "i32"], ["i64", "i64"], (f) => {
    const [high, low] = [f.parameter(0), f.parameter(1)];
    const count = f.local("i64");
    const cutOff = f.local("i64");
    f.set(count, i64.extendI32U(f.parameter(2)));

    f.if(i64.geU(count, 64), () => {
      // The upper half moves down as a whole, and the lower becomes part of what is cut off.
      f.set(cutOff, i64.extendI32U(i64.ne(low, 0)));
      f.set(low, shiftRightSticky(high, i64.sub(count, 64)));
      f.return(0, i64.or(low, cutOff));
    });
    f.if(i64.eqz(count), () => f.return(high, low));
    f.set(low, i64.or(i64.shl(high, i64.sub(64, count)), shiftRightSticky(low, count)));
    f.push(i64.shrU(high, count), low);
  });
}

/**
 * (a, b) → high, low: the whole product, from four of 32 bits each.
 *
 *        ah·bh   .
 *          ah·bl
 *          al·bh
 *      .      al·bl
 */
export function defineMultiply128(module: ModuleBuilder): FunctionReference {
  return module.function("multiply128", ["i64", "i64"], ["i64", "i64"], (f) => {
    const [a, b] = [f.parameter(0), f.parameter(1)];
    const lower = (x: Local) => i64.and(x, 0xffffffffn);
    const upper = (x: Local) => i64.shrU(x, 32);
    const [al, bl, middle, carry] = [f.local("i64"), f.local("i64"), f.local("i64"), f.local("i64")];
    f.set(al, lower(a));
    f.set(bl, lower(b));
    // Neither sum overflows: (2^32 − 1)² + 2·(2^32 − 1) = 2^64 − 1.
    f.set(middle, i64.add(i64.mul(upper(a), bl), i64.shrU(i64.mul(al, bl), 32)));
    f.set(carry, i64.add(i64.mul(al, upper(b)), lower(middle)));
    f.push(i64.add(i64.add(i64.mul(upper(a), upper(b)), upper(middle)), upper(carry)), i64.mul(a, b));
  });
}
