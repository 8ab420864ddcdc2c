/** What comes in from outside, checked field by field; and all of it described, for the OpenAPI file. */
import {
  balloonStatistics, defaultMemorySettings, definitionDefaults, exitKinds, frameStates, policyRules, reclaimStates, techniqueChoices, vmStates,
  type ActionKind, type ActionOf, type ExitKind, type FrameState, type RequestKind, type Results, type VmEnd,
} from "#monitor/action.ts";
import * as v from "valibot";

const PAGE = 4096;
const SMALLEST_MEMORY = 1 << 20;
const MOST_SHARES = 1_000_000;
const MOST_MEMORY_SHARES = 1_000_000_000;
const MOST_CPUS = 8;
const MOST_SAMPLE_PAGES = 100_000;
const MOST_SCAN_RATE = 1_000_000;
const MOST_DRIVES = 8;
/** More than any kernel takes. */
const LONGEST_APPEND = 4096;
/** execve(2) takes 128 KiB an argument; all of it must fit a request's head here. */
const LONGEST_COMMAND = 8192;
/** PATH_MAX of Linux, less the zero behind it. */
const LONGEST_PATH = 4095;

const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

const text = (description: string) => v.pipe(v.string(), v.description(description));
const number = (description: string) => v.pipe(v.number(), v.description(description));
const flag = (description: string) => v.pipe(v.boolean(), v.description(description));
const whole = v.integer<number, string>("is no whole number");
const path = (description: string) =>
  v.pipe(v.string(), v.regex(/^\/[^\0]*$/, "is no absolute path"), v.description(`${description}: an absolute path on the server's host`));

const name = v.pipe(v.string(), v.regex(namePattern, "is no name: use letters, digits, '.', '_' and '-', beginning with a letter or digit"), v.description("The VM's name"));
const shares = v.pipe(v.number(), whole, v.minValue(1), v.maxValue(MOST_SHARES),
  v.description(`Time on its hart is given in proportion to this; ${definitionDefaults.shares} unless given`));
const cap = v.pipe(v.number(), v.gtValue(0), v.maxValue(1), v.description("At most this part of its hart's time: above 0; 1, no cap, unless given"));
const technique = {
  cpu: v.pipe(v.picklist(techniqueChoices.cpu), v.description("How its CPUs are virtualized; hardware unless given")),
  mmu: v.pipe(v.picklist(techniqueChoices.mmu), v.description("How its guest-physical addresses become the machine's; what belongs to `cpu` unless given")),
  shadow: v.pipe(v.picklist(techniqueChoices.shadow), v.description("What becomes of shadow tables when its guest changes address spaces; cached unless given")),
  rewrite: v.pipe(v.picklist(techniqueChoices.rewrite), v.description("Of binary translation, which of its kernel's privileged instructions are replaced: all, unless given, or those that would not trap on a silent machine")),
  onIllegal: v.pipe(v.picklist(techniqueChoices.onIllegal), v.description("What an instruction of its kernel that no privilege allows becomes: the guest's own fault, unless given, or the VM's end")),
};
const memoryMin = v.pipe(v.number(), whole, v.minValue(0), v.multipleOf(PAGE, `is no multiple of ${PAGE}, a page`),
  v.description("Bytes of its memory that are never taken from it; all unless given, or none if the server overcommits"));
const memoryShares = v.pipe(v.number(), whole, v.minValue(1), v.maxValue(MOST_MEMORY_SHARES),
  v.description(`Memory that is not enough for all is given in proportion to this, as far as it is used; ${definitionDefaults.memorySharesPerMiB} for each MiB unless given`));
/** What can be changed while it runs. */
const settings = { shares, cap, memoryMin, memoryShares, ...technique };
const changes = v.partial(v.strictObject(settings)).entries;
const memory = v.pipe(v.number(), whole, v.minValue(SMALLEST_MEMORY), v.multipleOf(PAGE, `is no multiple of ${PAGE}, a page`), v.description("Bytes"));
const cpus = v.pipe(v.number(), whole, v.minValue(1), v.maxValue(MOST_CPUS), v.description("CPUs that its guest sees; they take turns on one hart"));

const shareGroup = v.pipe(v.string(), v.regex(namePattern, "is no name of a group: use letters, digits, '.', '_' and '-', beginning with a letter or digit"),
  v.description(`Its pages may be shared with those of VMs of the same group, ${definitionDefaults.shareGroup} unless given; null for none`));
const drive = v.strictObject({ path: path("The disk's file"), readOnly: v.optional(flag("Whether the guest may only read it")) });

const part = (description: string, usual: number) => v.pipe(v.number(), v.minValue(0), v.maxValue(1), v.description(`${description}; ${usual} unless set`));
const threshold = (description: string, usual: number) => part(`The part of the machine's memory below which ${description}`, usual);
const usualPolicy = defaultMemorySettings;
const policySettings = {
  rule: v.pipe(v.picklist(policyRules), v.description("By what memory that is not enough for all is shared out: shares, with a tax on what is idle; shares alone; or working sets alone")),
  idleTax: v.pipe(v.number(), v.minValue(0), v.maxValue(0.99), v.description(`An idle page costs 1 / (1 - tax) times as much as one in use; ${usualPolicy.idleTax} unless set`)),
  high: part("The part of the machine's memory that is to be free", usualPolicy.high),
  soft: threshold("balloons are inflated", usualPolicy.soft),
  hard: threshold("VMs are paged out", usualPolicy.hard),
  low: threshold("those that have too much stand still", usualPolicy.low),
  samplePages: v.pipe(v.number(), whole, v.minValue(0), v.maxValue(MOST_SAMPLE_PAGES), v.description(`Pages of a VM whose use is looked at in a period; ${usualPolicy.samplePages} unless set`)),
  samplePeriod: v.pipe(v.number(), v.minValue(0.1), v.maxValue(3600), v.description(`Its length, in seconds; ${usualPolicy.samplePeriod} unless set`)),
  scanRate: v.pipe(v.number(), whole, v.minValue(0), v.maxValue(MOST_SCAN_RATE), v.description(`Pages a second that are looked at for others like them; ${usualPolicy.scanRate} unless set`)),
};

type Fields<Kind extends ActionKind> = Omit<ActionOf<Kind>, "kind">;

const named = v.strictObject({ name });

/** An action's fields, but its kind. */
export const fields: { readonly [Kind in ActionKind]: v.GenericSchema<unknown, Fields<Kind>> } = {
  machine: v.strictObject({}),
  create: v.pipe(
    v.strictObject({
      name,
      image: v.optional(text("The name of an image; either this or a kernel is given")),
      kernel: v.optional(path("A kernel")),
      initrd: v.optional(path("An initial RAM disk; with an image, in the place of its own")),
      append: v.optional(v.pipe(v.string(), v.maxLength(LONGEST_APPEND), v.description("The kernel's command line; with an image, words added to its own"))),
      memory: v.optional(v.pipe(memory, v.description(`Bytes; a multiple of ${PAGE}; ${definitionDefaults.memory} unless given`))),
      cpus: v.optional(cpus),
      drives: v.optional(v.pipe(v.array(drive), v.maxLength(MOST_DRIVES))),
      shareGroup: v.optional(v.nullable(shareGroup)),
      ...changes,
      start: v.optional(flag("Whether it is started at once")),
    }),
    v.check(({ image, kernel }) => (image === undefined) !== (kernel === undefined), "give an image or a kernel, one of them"),
  ),
  list: v.strictObject({}),
  show: named,
  start: named,
  stop: named,
  pause: named,
  resume: named,
  set: v.strictObject({ name, ...changes }),
  memory: v.strictObject({ map: v.optional(flag("Whether all frames are wanted, too")) }),
  policy: v.strictObject({}),
  setPolicy: v.strictObject(v.partial(v.strictObject(policySettings)).entries),
  balloon: v.strictObject({ name, size: v.pipe(memory, v.description(`Bytes that are left to the guest; a multiple of ${PAGE}`)) }),
  remove: v.strictObject({ name, force: v.optional(flag("Whether one that runs is stopped for it")) }),
  stats: named,
  trace: v.strictObject({ name, since: v.optional(v.pipe(v.number(), whole, v.minValue(0), v.description("The number of the first exit that is wanted"))) }),
  console: named,
  exec: v.strictObject({
    name,
    command: v.pipe(
      v.array(v.string()), v.minLength(1, "is empty"),
      v.check((words) => words.join(" ").length <= LONGEST_COMMAND, `is longer than ${LONGEST_COMMAND} characters`),
      v.description("The program, by path or name, and its arguments"),
    ),
    env: v.optional(v.pipe(
      v.array(v.pipe(v.string(), v.regex(/^[^=\0]+=[^\0]*$/, "is no NAME=value"))),
      v.check((words) => words.join(" ").length <= LONGEST_COMMAND, `is longer than ${LONGEST_COMMAND} characters`),
      v.description("Variables of its environment, each as NAME=value, besides PATH, HOME and such"),
    )),
    cwd: v.optional(v.pipe(v.string(), v.regex(/^\/[^\0]*$/, "is no absolute path"), v.maxLength(LONGEST_PATH), v.description("The directory that it begins in, in the guest; root's home unless given"))),
  }),
};

export const vmEnd: v.GenericSchema<unknown, VmEnd> = v.pipe(
  v.union([
    v.object({ kind: v.literal("poweroff") }),
    v.object({ kind: v.literal("reboot") }),
    v.object({ kind: v.literal("fail"), code: number("The guest's own status, 0 to 65535") }),
    v.object({ kind: v.literal("crash") }),
    v.object({ kind: v.literal("stopped") }),
    v.object({ kind: v.literal("failed"), code: text("What is wrong, for programs"), message: text("What is wrong, in a line") }),
  ]),
  v.description("How a VM ended: switched off by its guest; with a status; by a kernel's panic; stopped by an operator; failed, by what the machine or its files could not give"),
);

const vm: v.GenericSchema<unknown, Results["show"]> = v.object({
  name,
  state: v.picklist(vmStates),
  end: v.nullable(vmEnd),
  memory,
  cpus,
  image: v.nullable(v.string()),
  kernel: v.nullable(v.string()),
  drives: v.array(v.object({ path: v.string(), readOnly: v.boolean() })),
  shareGroup: v.nullable(shareGroup),
  ...settings,
  created: text("ISO 8601, UTC"),
  started: v.nullable(text("ISO 8601, UTC; when it was started last")),
  log: text("The file with its console's output and its ends"),
});

const perExitKind = <T>(value: T): Record<ExitKind, T> => Object.fromEntries(exitKinds.map((kind) => [kind, value])) as Record<ExitKind, T>;

const perStatistic = <T>(value: T): Record<StatisticName, T> => Object.fromEntries(balloonStatistics.map((name) => [name, value])) as Record<StatisticName, T>;
type StatisticName = (typeof balloonStatistics)[number];

/** In bytes. */
const memoryUse = {
  promised: number("What it may have at most"),
  mapped: number("Pages that have a frame"),
  shared: number("Of these, those that have one with others"),
  zero: number("And those whose frame is that of zeros"),
  saved: number("What it would take more if it shared nothing"),
  active: number("What it uses, as it is estimated"),
  tables: number("Frames of the tables that map its pages, shadow tables too"),
  ballooned: number("In its balloon"),
  pagedOut: number("In the swap file"),
};

const stats: v.GenericSchema<unknown, Results["stats"]> = v.object({
  instructions: number("Retired since its start"),
  guestSeconds: number("Of its hart's time, in the guest"),
  monitorSeconds: number("Of its hart's time, in the monitor for its sake"),
  exits: v.pipe(v.object(perExitKind(v.number())), v.description("Exits to the monitor, by cause")),
  technique: v.object(technique),
  shadow: v.pipe(
    v.nullable(v.object({ tables: v.number(), addressSpaces: v.number(), evictions: v.number() })),
    v.description("Shadow tables, if it has any: how many frames they take, of how many address spaces, and how many of these went for want of room"),
  ),
  silenced: v.pipe(
    v.array(v.object({
      what: text("A register or an instruction"),
      times: v.number(),
      since: number("The first one's count among the instructions of its hart"),
      first: v.nullable(v.object({ pc: text("In hexadecimal"), instruction: text("In assembly language") })),
    })),
    v.description("On a silent machine: sensitive instructions that its kernel executed deprivileged, without a trap; in the order in which they came first"),
  ),
  memory: v.pipe(
    v.object({ ...memoryUse, target: number("What its balloon is to leave to its guest") }),
    v.description("In bytes"),
  ),
  paging: v.pipe(
    v.object({ outs: v.number(), ins: v.number(), prefetched: v.number(), prefetchedUsed: v.number() }),
    v.description("Pages that went to the swap file, and that came back; of these, those that nobody had asked for yet, and those of them that were used then"),
  ),
  guest: v.pipe(
    v.nullable(v.object(perStatistic(v.optional(v.number())))),
    v.description("What the driver of its guest's balloon said of its memory when it was asked last, by the request before this one: bytes, but faults and huge pages, which are counts"),
  ),
  translations: v.pipe(
    v.object({ places: v.number(), shared: v.number() }),
    v.description("Places in its memory where hot code begins that its hart has translated; and how many of them have a translation that was made for the same code elsewhere"),
  ),
});

const trace: v.GenericSchema<unknown, Results["trace"]> = v.object({
  ended: flag("Whether the VM is off: no more will come"),
  exits: v.array(v.object({
    time: number("Milliseconds since the VM was started"),
    at: text("ISO 8601, UTC"),
    pc: text("The guest's pc, in hexadecimal"),
    kind: v.picklist(exitKinds),
    detail: number("What belongs to the kind: a guest-physical address, a hypercall's extension"),
  })),
  next: number("To ask from, for what comes after these"),
});

const perFrameState = <T>(value: T): Record<FrameState, T> => Object.fromEntries(frameStates.map((state) => [state, value])) as Record<FrameState, T>;

const machineMemory: v.GenericSchema<unknown, Results["memory"]> = v.object({
  total: number("Bytes"),
  promised: number("Bytes, to VMs that run or are paused"),
  guaranteed: number("Bytes: what of that is never taken from them"),
  free: number("Bytes in frames that nobody has"),
  state: v.pipe(v.picklist(reclaimStates), v.description("How scarce memory is")),
  swap: v.pipe(v.object({ total: v.number(), used: v.number() }), v.description("Bytes of the swap file: all, and those that hold pages")),
  frames: v.pipe(v.object(perFrameState(v.number())), v.description("Bytes in frames of each state")),
  vms: v.array(v.object({
    name,
    min: number("Bytes that are never taken from it"),
    shares: memoryShares,
    ...memoryUse,
    target: number("What it is to have in frames of its own, by the policy"),
  })),
  map: v.pipe(
    v.nullable(v.array(v.object({
      first: number("A frame's number"),
      frames: v.number(),
      state: v.picklist(frameStates),
      owner: v.nullable(text("A VM; null for nobody's, and for those that several use")),
    }))),
    v.description("All frames, in order, those that are alike together"),
  ),
});

const memoryPolicy: v.GenericSchema<unknown, Results["policy"]> = v.object(policySettings);

const machine: v.GenericSchema<unknown, Results["machine"]> = v.object({
  version: v.string(),
  harts: v.number(),
  memory: v.pipe(
    v.object({ total: v.number(), promised: v.number(), guaranteed: v.number(), free: v.number() }),
    v.description("Bytes: all, promised to VMs that run or are paused, what of that is never taken from them, and frames that nobody has"),
  ),
});

export const results: { readonly [Kind in RequestKind]: v.GenericSchema<unknown, Results[Kind]> } = {
  machine, create: vm, list: v.array(vm), show: vm, start: vm, stop: vm, pause: vm, resume: vm, set: vm, balloon: vm, memory: machineMemory, policy: memoryPolicy, setPolicy: memoryPolicy, remove: vm, stats, trace,
};
