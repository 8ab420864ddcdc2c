/** `hostelry image …`. */
import { Command } from "commander";
import { formatBytes, type Messages } from "./messages.ts";
import { printJson, printTable } from "./table.ts";

interface JsonOption {
  readonly json?: boolean;
}

interface BuildCommandOptions extends JsonOption {
  readonly name?: string;
  readonly packages?: readonly string[];
  readonly modules?: readonly string[];
  readonly mirror?: string;
  readonly append?: string;
}

const list = (text: string): string[] => text.split(/[,\s]+/).filter((word) => word !== "");

export function addImageCommands(program: Command, messages: Messages): void {
  const image = program.command("image").description("Guest images: Debian's kernel and an initial RAM disk");
  const context = { progress: messages };
  const commands = async () => (await import("./image.ts")).imageCommands;

  image.command("build")
    .description("Build an image from Debian's packages, or build it again")
    .option("--name <name>", "the image's name", "default")
    .option("--packages <names>", "Debian packages to add, with what they depend on, separated by commas", list)
    .option("--modules <names>", "kernel modules to add, separated by commas", list)
    .option("--append <words>", "the kernel's command line, in the place of the usual one")
    .option("--mirror <url>", "a Debian mirror to fetch from, where there is no apt")
    .option("--json", "tell what was built as JSON")
    .action(async ({ json, ...options }: BuildCommandOptions) => {
      const built = await (await commands()).build(options, context);
      if (json === true) printJson(built);
      else messages.line(`The image ${built.name} is built: Linux ${built.manifest.kernel.release}, in ${built.directory}`);
    });

  image.command("ls")
    .description("List the images")
    .option("--json", "as JSON")
    .action(async ({ json }: JsonOption) => {
      const images = await (await commands()).list();
      if (json === true) return printJson(images);
      if (images.length === 0) messages.line('No images yet: "hostelry image build" builds the default one');
      const rows = images.map(({ name, bytes, kernel, packages, problem, current }) =>
        [name, formatBytes(bytes), kernel ?? "-", problem ?? `${current === false ? "out of date; " : ""}${packages?.join(",") ?? ""}`]);
      if (rows.length > 0) printTable([["NAME", "SIZE", "KERNEL", "PACKAGES"], ...rows]);
    });

  image.command("rm")
    .description("Remove images; their downloads stay in the cache")
    .argument("<names...>", "images of `hostelry image ls`")
    .option("--json", "tell what was removed as JSON")
    .action(async (names: string[], { json }: JsonOption) => {
      const done = await (await commands()).remove(names, context);
      if (json === true) printJson(done);
      else messages.line(`Removed ${done.removed.join(", ")}: ${formatBytes(done.bytes)}`);
    });

  image.command("prune")
    .description("Remove downloads that no image is made of")
    .option("--all", "all downloads, and the lists of packages")
    .option("--json", "tell what was removed as JSON")
    .action(async ({ json, all }: JsonOption & { all?: boolean }) => {
      const done = await (await commands()).prune({ all: all === true }, context);
      if (json === true) printJson(done);
      else messages.line(`Removed ${done.removed.length} downloads: ${formatBytes(done.bytes)}`);
    });
}
