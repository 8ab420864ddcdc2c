/** The agent's program that is checked in is what its source makes. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { runTool, skipWithout, temporaryFolder } from "../kit/tools.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const script = join(root, "guest/agent/build");

suite("the agent's program", { skip: skipWithout("compiler") || otherCompiler() }, () => {
  const folder = temporaryFolder();

  test("is built from guest/agent, to the last byte", () => {
    const built = join(folder, "agent");
    const { status, stderr } = spawnSync(script, [built], { encoding: "utf8" });
    assert.deepEqual([status, stderr], [0, ""]);
    assert.ok(readFileSync(built).equals(readFileSync(join(root, "src/images/rootfs/usr/lib/hostelry/agent"))), "run guest/agent/build, and check in what it makes");
  });
});

/** Why the bytes can't be compared here, if so. */
function otherCompiler(): string | false {
  const wanted = /^compiler=(.+)$/m.exec(readFileSync(script, "utf8"))![1];
  const here = runTool("compiler", ["-dumpfullversion"]).toString().trim();
  return here !== wanted && `the agent was built by version ${wanted} of the compiler, and here is ${here}`;
}
