import type { VmEnd } from "#monitor/action.ts";

/** How a VM ended, in a few words. */
export function describeEnd(end: VmEnd): string {
  switch (end.kind) {
    case "poweroff":
      return "switched off by its guest";
    case "reboot":
      return "rebooted by its guest";
    case "fail":
      return `switched off by its guest with status ${end.code}`;
    case "crash":
      return "its guest's kernel panicked";
    case "stopped":
      return "stopped";
    case "failed":
      return end.message;
  }
}
