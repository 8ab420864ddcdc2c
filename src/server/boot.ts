/** What a VM is to boot, as its definition says. */
import { readShared } from "#host/node/boot-files.ts";
import { ImageStore } from "#host/node/image-store.ts";
import type { VmDefinition } from "#monitor/action.ts";
import type { BootFiles } from "#platform/board.ts";

/** Throws HostelryError for an image that isn't there, and for files that can't be read or are no kernel. */
export async function bootFiles(definition: VmDefinition, images: ImageStore): Promise<BootFiles> {
  const { image, kernel, initrd, append = "" } = definition;
  const stored = image === undefined ? undefined : await images.open(image);
  const disk = initrd ?? stored?.initrdPath;
  return readShared({
    kernel: stored?.kernelPath ?? kernel!,
    ...(disk === undefined ? {} : { initrd: disk }),
    append: [stored?.manifest.append ?? "", append].filter((words) => words !== "").join(" "),
  });
}
