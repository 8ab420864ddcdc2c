/** docs/openapi.json is what the schemas say. After a change of them: UPDATE_EXPECTED=1 and this test writes it again. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { VERSION } from "#base/version.ts";
import { openApi } from "./openapi.ts";

const file = new URL("../../docs/openapi.json", import.meta.url);
const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string };

test("there is one version", () => assert.equal(VERSION, version));

test("the OpenAPI file is up to date", () => {
  const now = `${JSON.stringify(openApi(), null, 2)}\n`;
  if (process.env["UPDATE_EXPECTED"]) writeFileSync(file, now);
  assert.equal(readFileSync(file, "utf8"), now, "docs/openapi.json is out of date: UPDATE_EXPECTED=1 node_modules/.bin/node --test src/api/*.test.ts");
});
