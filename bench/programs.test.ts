import assert from "node:assert/strict";
import { test } from "node:test";
import { PROGRAMS, commandLine, selectPrograms } from "./programs.ts";

const find = (name: string) => PROGRAMS.find((program) => program.name === name)!;

test("programs are chosen by parts of their names and groups", () => {
  assert.equal(selectPrograms([]).length, PROGRAMS.length);
  assert.deepEqual(selectPrograms(["float"]).map(({ name }) => name), ["linpack", "nbody", "libm"]);
  assert.deepEqual(selectPrograms(["getppid", "openssl-a"]).map(({ name }) => name), ["getppid", "openssl-aes"]);
  assert.deepEqual(selectPrograms(["nothing"]), []);
});

test("names are unique, and programs of fixed work have a checksum on record", () => {
  assert.equal(new Set(PROGRAMS.map(({ name }) => name)).size, PROGRAMS.length);
  for (const { name, rates, checksum } of PROGRAMS) assert.match(checksum ?? "", rates === undefined ? /^[0-9a-f]{16}$/ : /^$/, name);
});

test("iterations go into the command line", () => {
  assert.equal(commandLine(find("sha256"), 7), "/bench/sha256 7");
});

test("openssl's rates are counts over the seconds that it states", () => {
  const output = "Doing 253 bits  ecdh ops for 1s: 3627 253-bits ECDH ops in 0.50s\r\nversion: 3.5.7\nsha256  54411.26k\n";
  assert.deepEqual(find("openssl-x25519").rates!(output), [7254]);
});

test("7-Zip's rates are the average speeds of packing and unpacking", () => {
  const output = "18:        977   101    864    870  |      13476   101   1082   1090\nAvr:       908   101    801    812  |      13477   100   1096   1097\n";
  assert.deepEqual(find("7z").rates!(output), [908, 13477]);
});
