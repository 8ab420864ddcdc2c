// Its own file, since a Node that is too old does not parse it.
"use strict";

const { enableCompileCache } = require("node:module");
const { homedir } = require("node:os");
const { isAbsolute, join } = require("node:path");
const { setFlagsFromString } = require("node:v8");

/**
 * V8's choices, for all threads. Set before anything is loaded: compiled code is kept for one set of flags.
 *
 * - `expose-gc`: threads decide when they collect garbage.
 * - `no-wasm-lazy-compilation`: what a module needs to run is made where the module is compiled. V8 would do that where a function is first
 *   called: on the hart's thread.
 */
const FLAGS = ["--expose-gc", "--no-wasm-lazy-compilation"];

/**
 * Compiled code is kept where the user's caches are: starting takes half as long. The machine's thread, a Node of its own in this,
 * finds the place in the environment.
 */
function keepCompiledCode() {
  const cache = process.env.XDG_CACHE_HOME;
  const base = cache !== undefined && isAbsolute(cache) ? cache : join(homedir(), ".cache");
  process.env.NODE_COMPILE_CACHE ??= join(base, "hostelry", "compiled");
  // Where that can't be written, it does nothing.
  enableCompileCache(process.env.NODE_COMPILE_CACHE);
}

module.exports = function (url) {
  FLAGS.forEach(setFlagsFromString);
  keepCompiledCode();
  return import(url);
};
