// Plain JavaScript for any Node: installs what package-lock.json says, if it isn't there. `npm start` and `npm test` begin with it.
"use strict";

var fs = require("fs");
var path = require("path");
var spawnSync = require("child_process").spawnSync;

var root = path.dirname(fs.realpathSync(__dirname));

function packagesOf(file) {
  try {
    return JSON.parse(fs.readFileSync(path.join(root, file), "utf8")).packages;
  } catch (error) {
    return {};
  }
}

/** npm keeps a lockfile of what it has installed; optional packages are for other systems. */
function installed() {
  var wanted = packagesOf("package-lock.json");
  var present = packagesOf("node_modules/.package-lock.json");
  return Object.keys(wanted).every(function (name) {
    return name === "" || wanted[name].optional || (present[name] !== undefined && present[name].version === wanted[name].version);
  });
}

if (!installed()) {
  process.stderr.write("Installing Hostelry's packages (npm ci)\n");
  // npm tells its scripts where it is; otherwise it is the one on the PATH.
  var npm = process.env.npm_execpath;
  var command = npm === undefined ? ["npm"] : [process.execPath, npm];
  var result = spawnSync(command[0], command.slice(1).concat(["ci", "--no-audit", "--no-fund"]), {
    cwd: root,
    // stdout is the guest's.
    stdio: ["ignore", 2, 2],
    shell: process.platform === "win32",
  });
  if (result.status !== 0) {
    process.stderr.write("hostelry: npm ci has failed" + (result.error ? ": " + result.error.message : "") + "; what it wrote above says why\n");
    process.exit(2);
  }
}
