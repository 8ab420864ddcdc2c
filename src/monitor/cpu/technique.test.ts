import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { techniqueOf, type Technique, type TechniqueOptions } from "./technique.ts";

const refusal = (wanted: TechniqueOptions, before?: Technique): string => {
  try {
    techniqueOf(wanted, before);
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    return `${code}: ${message}`;
  }
  return "taken";
};

suite("what an operator chooses", () => {
  test("an MMU comes with its CPU", () => {
    const hardware = techniqueOf({});
    assert.deepEqual(hardware, { cpu: "hardware", mmu: "nested", shadow: "cached", rewrite: "all", onIllegal: "guest" });
    const trapping = techniqueOf({ cpu: "trap-and-emulate", shadow: "naive" }, hardware);
    assert.deepEqual(trapping, { cpu: "trap-and-emulate", mmu: "shadow", shadow: "naive", rewrite: "all", onIllegal: "guest" });
    assert.deepEqual(techniqueOf({ onIllegal: "stop" }, trapping), { ...trapping, onIllegal: "stop" });
    assert.deepEqual(techniqueOf({ cpu: "hardware" }, trapping), { ...trapping, cpu: "hardware", mmu: "nested" });
  });

  test("what does not go together is refused in a line that says what does", () => {
    const lines = [
      refusal({ cpu: "trap-and-emulate", mmu: "nested" }),
      refusal({ mmu: "nested" }, techniqueOf({ cpu: "trap-and-emulate" })),
      refusal({ shadow: "naive" }),
      refusal({ onIllegal: "stop" }),
      refusal({ cpu: "hardware" }, techniqueOf({ cpu: "trap-and-emulate", onIllegal: "stop" })),
    ];
    for (const line of lines) assert.match(line, /^technique: .*: choose [a-z-]+/);
  });
});
