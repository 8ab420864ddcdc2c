import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { Action, ActionKind } from "#monitor/action.ts";
import { actionKinds, fromRequest, toRequest } from "./routes.ts";

const samples: { readonly [Kind in ActionKind]: Action } = {
  machine: { kind: "machine" },
  create: { kind: "create", name: "web", kernel: "/k", append: "a b", memory: 1 << 20, memoryMin: 0, memoryShares: 5, cpus: 2, drives: [{ path: "/d", readOnly: true }], shareGroup: null, shares: 3, cap: 0.5, cpu: "trap-and-emulate", mmu: "shadow", shadow: "naive", rewrite: "all", onIllegal: "stop", start: true },
  list: { kind: "list" },
  show: { kind: "show", name: "a.b-c_1" },
  start: { kind: "start", name: "web" },
  stop: { kind: "stop", name: "web" },
  pause: { kind: "pause", name: "web" },
  resume: { kind: "resume", name: "web" },
  set: { kind: "set", name: "web", shares: 7, cpu: "hardware" },
  balloon: { kind: "balloon", name: "web", size: 1 << 27 },
  memory: { kind: "memory", map: true },
  policy: { kind: "policy" },
  setPolicy: { kind: "setPolicy", rule: "pure-shares", idleTax: 0.5, high: 0.1 },
  remove: { kind: "remove", name: "web", force: true },
  stats: { kind: "stats", name: "web" },
  trace: { kind: "trace", name: "web", since: 12 },
  console: { kind: "console", name: "web" },
  exec: { kind: "exec", name: "web", command: ["sh", "-c", "echo 'ä & b' | cat", "", "-n"], env: ["A=b=c", "B="], cwd: "/a b" },
};

const refusal = (method: string, url: string, body?: unknown): string => {
  try {
    fromRequest(method, url, body);
  } catch (error) {
    return `${(error as { code: string }).code}: ${(error as Error).message}`;
  }
  return "taken";
};

suite("actions as requests", () => {
  for (const kind of actionKinds) {
    test(`${kind} goes there and back`, () => {
      const { method, path, body } = toRequest(samples[kind]);
      assert.deepEqual(fromRequest(method, path, body === undefined ? undefined : JSON.parse(JSON.stringify(body))), samples[kind]);
    });
  }

  test("fields that are not given are not sent", () => assert.deepEqual(toRequest({ kind: "set", name: "a", shares: undefined }).body, {}));

  test("what makes no sense is refused in one line", () => {
    const vm = { name: "a", image: "default" };
    assert.deepEqual(
      [
        refusal("GET", "//"),
        refusal("OPTIONS", "*"),
        refusal("GET", "/v2/vms"),
        refusal("PUT", "/v1/vms/a"),
        refusal("POST", "/v1/vms", []),
        refusal("POST", "/v1/vms", {}),
        refusal("POST", "/v1/vms", { ...vm, colour: "red" }),
        refusal("POST", "/v1/vms", { ...vm, name: "../a" }),
        refusal("POST", "/v1/vms", { ...vm, memory: "512M" }),
        refusal("POST", "/v1/vms", { ...vm, memory: 2 ** 20 + 1 }),
        refusal("POST", "/v1/vms", { ...vm, memoryMin: 1 }),
        refusal("POST", "/v1/vms", { ...vm, kernel: "/k" }),
        refusal("POST", "/v1/vms", { name: "a", kernel: "k" }),
        refusal("POST", "/v1/vms", { ...vm, drives: [{ path: 3 }] }),
        refusal("POST", "/v1/vms", { ...vm, cap: 0 }),
        refusal("POST", "/v1/vms", { ...vm, cpus: 9 }),
        refusal("PATCH", "/v1/vms/a", { shares: 0.5 }),
        refusal("GET", "/v1/vms/a/trace?since=x"),
        refusal("GET", "/v1/vms/a/trace?until=3"),
        refusal("DELETE", "/v1/vms/a?force=maybe"),
        refusal("GET", "/v1/vms/a/exec"),
        refusal("GET", "/v1/vms/a/exec?command=ls&env=A=b&env=B"),
        refusal("GET", "/v1/vms/%ff"),
      ],
      [
        "no-route: there is nothing at //: see /v1/openapi.json",
        "no-route: * is no path: see /v1/openapi.json",
        "no-route: there is nothing at /v2/vms: see /v1/openapi.json",
        "bad-method: /v1/vms/a takes GET, PATCH, DELETE, not PUT",
        "bad-request: the body is no JSON object",
        "bad-request: the field name is missing",
        "bad-request: there is no field colour",
        "bad-request: the field name is no name: use letters, digits, '.', '_' and '-', beginning with a letter or digit",
        'bad-request: the field memory is "512M", not number',
        "bad-request: the field memory is no multiple of 4096, a page",
        "bad-request: the field memoryMin is no multiple of 4096, a page",
        "bad-request: give an image or a kernel, one of them",
        "bad-request: the field kernel is no absolute path",
        "bad-request: the field drives.0.path is 3, not string",
        "bad-request: the field cap is 0, not >0",
        "bad-request: the field cpus is 9, not <=8",
        "bad-request: the field shares is no whole number",
        'bad-request: the field since is "x", not number',
        "bad-request: there is no field until",
        'bad-request: the field force is "maybe", not boolean',
        "bad-request: the field command is missing",
        "bad-request: the field env.1 is no NAME=value",
        "bad-request: the field name is no name: use letters, digits, '.', '_' and '-', beginning with a letter or digit",
      ],
    );
  });
});
