/** Two writers, or a reader beside a writer, would ruin a file system: between VMs as within one. */
import { HostelryError } from "#base/errors.ts";
import type { VmDescription } from "#monitor/action.ts";
import { statSync } from "node:fs";

/** Throws HostelryError `drive-in-use` if one of those that are on has a drive of this VM's, and not both for reading only. */
export function refuseSharedDrives(vm: VmDescription, on: readonly VmDescription[]): void {
  for (const { path, readOnly } of vm.drives) {
    const identity = identityOf(path);
    // What isn't there is refused when it is opened.
    if (identity === undefined) continue;
    const holder = on.find(({ drives }) => drives.some((drive) => !(readOnly && drive.readOnly) && identityOf(drive.path) === identity));
    if (holder !== undefined) throw new HostelryError("drive-in-use", `${vm.name} is not started, since ${holder.name} has its drive ${path}, and not both for reading only: stop that one first`);
  }
}

/** Which file it is, whatever its path. */
function identityOf(path: string): string | undefined {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? undefined : `${stat.dev}:${stat.ino}`;
}
