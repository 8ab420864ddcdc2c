import { parseArgs } from "node:util";
import { HostelryError } from "#base/errors.ts";

export interface Options {
  /** Parts of names of programs or groups, or of the other measurements: boot, idle, crossings. None: everything. */
  readonly filters: readonly string[];
  readonly rounds: number;
  readonly quick: boolean;
  readonly json: boolean;
  /** Into the documentation. */
  readonly write: boolean;
  readonly ours: string;
  /** null: no reference. */
  readonly reference: string | null;
  readonly kernel: string | undefined;
  readonly initrd: string | undefined;
  readonly append: string | undefined;
  /** MiB. */
  readonly memory: number;
  readonly march: string;
  /** Milliseconds for one run of a program. */
  readonly timeout: number;
}

export const HELP = `Usage: npm run bench [-- OPTIONS] [FILTER…]

Measures Hostelry against QEMU: the same kernel, the same programs. Without filters all is measured (about a quarter of an
hour) and recorded in bench/results and bench/RESULTS.md. A FILTER is part of the name of a program or a group (integer,
floating-point, memory, system, real), or one of boot, idle, crossings; or monitor: what many VMs on one machine
cost, alone, with filters of its own (monitor forkBomb idle); or techniques: what operations cost by each way to
virtualize, alone, with filters of its own (techniques "CSR read" binary; techniques many: small VMs on two harts); or memory: the experiments of a paper on
managing memory, alone, with filters of its own (memory identical tax).

  --only NAMES       filters, separated by commas
  --runs N           rounds; results are medians over them (3)
  --quick            one round of a quarter of the work: a look, not a result
  --no-qemu          only Hostelry; results are checked against the recorded checksums
  --json             the record on stdout instead of tables
  --write            with memory: its figures and its table go into docs/
  --ours MACHINE     what is measured (hostelry): hostelry, vm, a technique for CPUs (as binary-translation), qemu, or a command line with {kernel} {initrd} {append} {memory}
  --against MACHINE  what it is compared with (qemu)
  --kernel FILE --initrd FILE
                     instead of the images that hostelry builds; the real programs must be in this initrd
  --append TEXT      the kernel's command line, for both machines
  --memory MIB       (512)
  --march NAME       what our programs are compiled for (rv64gc; also rv64gc_zba_zbb_zbs)
  --timeout SECONDS  for one run of one program (120)

Examples:
  npm run bench -- integer                       one group
  npm run bench -- --quick --only sha256,getppid a quick look at two programs
  npm run bench -- --ours qemu sort              QEMU against itself: the noise of this machine
  npm run bench -- --ours vm --against hostelry  a VM against the bare machine
`;

/** Throws HostelryError `bad-usage`. Returns null if help is asked for. */
export function parseOptions(args: string[]): Options | null {
  const { values, positionals } = parse(args);
  if (values.help === true) return null;
  return {
    filters: [...positionals, ...(values.only ?? []).flatMap((names) => names.split(","))].filter((name) => name !== ""),
    rounds: values.runs === undefined ? (values.quick === true ? 1 : 3) : positiveInteger("--runs", values.runs),
    quick: values.quick === true,
    json: values.json === true,
    write: values.write === true,
    ours: values.ours ?? "hostelry",
    reference: values["no-qemu"] === true ? null : (values.against ?? "qemu"),
    kernel: values.kernel,
    initrd: values.initrd,
    append: values.append,
    memory: positiveInteger("--memory", values.memory ?? "512"),
    march: values.march ?? "rv64gc",
    timeout: 1000 * positiveInteger("--timeout", values.timeout ?? "120"),
  };
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        help: { type: "boolean", short: "h" },
        only: { type: "string", multiple: true },
        runs: { type: "string" },
        quick: { type: "boolean" },
        json: { type: "boolean" },
        write: { type: "boolean" },
        "no-qemu": { type: "boolean" },
        ours: { type: "string" },
        against: { type: "string" },
        kernel: { type: "string" },
        initrd: { type: "string" },
        append: { type: "string" },
        memory: { type: "string" },
        march: { type: "string" },
        timeout: { type: "string" },
      },
    });
  } catch (error) {
    throw new HostelryError("bad-usage", `${(error as Error).message.split("\n")[0]}; see npm run bench -- --help`);
  }
}

function positiveInteger(option: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new HostelryError("bad-usage", `${option} takes a whole number from 1, not "${text}"`);
  return value;
}
