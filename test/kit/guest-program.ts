/** A guest's program that is checked in is what its source makes. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { runTool, skipWithout, temporaryFolder } from "./tools.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** `folder` has the source and a script `build`; `program` is what that makes. Both from the root on. */
export function testBuild(folder: string, program: string): void {
  const script = join(root, folder, "build");
  suite(`the program ${program}`, { skip: skipWithout("compiler") || otherCompiler(script) }, () => {
    const scratch = temporaryFolder();

    test(`is built from ${folder}, to the last byte`, () => {
      const built = join(scratch, "built");
      const { status, stderr } = spawnSync(script, [built], { encoding: "utf8" });
      assert.deepEqual([status, stderr], [0, ""]);
      assert.ok(readFileSync(built).equals(readFileSync(join(root, program))), `run ${folder}/build, and check in what it makes`);
    });
  });
}

/** Why the bytes can't be compared here, if so. */
function otherCompiler(script: string): string | false {
  const wanted = /^compiler=(.+)$/m.exec(readFileSync(script, "utf8"))![1];
  const here = runTool("compiler", ["-dumpfullversion"]).toString().trim();
  return here !== wanted && `it was built by version ${wanted} of the compiler, and here is ${here}`;
}
