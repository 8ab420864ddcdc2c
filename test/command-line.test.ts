/** The command line, as it meets mistakes, pipes, signals and a terminal. The guests are a few instructions long. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { bareProgram, elfProgram, executable, hostelry } from "./kit/hostelry.ts";
import { temporaryFolder } from "./kit/tools.ts";

const UART = 0x10000000;
const TEST = 0x100000;

/** Says "hi", ends with status 5. */
const HI = `
  li   t0, ${UART}
  li   t1, 0x68
  sb   t1, 0(t0)
  li   t1, 0x69
  sb   t1, 0(t0)
  li   t1, 10
  sb   t1, 0(t0)
  li   t0, ${TEST}
  li   t1, 0x53333
  sw   t1, 0(t0)
  stay: j stay`;

/** Sends back each byte plus one; "q" ends with success. */
const ECHO = `
  li   t0, ${UART}
  li   t2, 0x71
  next: lbu t1, 5(t0)
  andi t1, t1, 1
  beqz t1, next
  lbu  t1, 0(t0)
  beq  t1, t2, quit
  addi t1, t1, 1
  sb   t1, 0(t0)
  j    next
  quit: li t0, ${TEST}
  li   t1, 0x5555
  sw   t1, 0(t0)
  stay: j stay`;

/** Says "." and waits for ever. */
const WAIT = `
  li   t0, ${UART}
  li   t1, 0x2e
  sb   t1, 0(t0)
  stay: wfi
  j    stay`;

suite("hostelry run", () => {
  test("guest output on stdout, ours on stderr, the guest's status as ours", async () => {
    const { status, stdout, stderr } = await hostelry(["run", "--bios", bareProgram(HI)]);
    assert.deepEqual([status, stdout], [5, "hi\n"]);
    assert.match(stderr, /^\S+program\.bin on a bare machine: 1 hart, 512 MiB of memory; started in .*\n$/);
  });

  test("a pipe feeds a guest that knows nothing of pipes, all of it", async () => {
    const text = "abc".repeat(70_000);
    const { status, stdout } = await hostelry(["run", "--bios", bareProgram(ECHO)], { input: `${text}q` });
    assert.equal(status, 0);
    assert.equal(stdout, "bcd".repeat(70_000));
  });

  test("--stats prints one object", async () => {
    const { stderr } = await hostelry(["run", "--bios", bareProgram(HI), "--stats", "--memory", "8M"]);
    const stats = JSON.parse(stderr.slice(stderr.indexOf("{")));
    assert.equal(stats.instructions, 11);
    assert.equal(stats.memory.guest, 8 * 2 ** 20);
    assert.equal(stats.crossings, 4);
    for (const field of ["seconds", "mips", "traps", "interrupts", "tlbMisses", "walks", "tiers", "crossingsPerMillionInstructions"]) assert.ok(field in stats, field);
  });

  for (const [signal, expected] of [["SIGTERM", 143], ["SIGINT", 130], ["SIGHUP", 129]] as const) {
    test(`${signal} ends a machine that waits, with ${expected}`, async () => {
      const { status, stdout } = await hostelry(["run", "--bios", bareProgram(WAIT)], { onOutput: (_, kill) => kill(signal) });
      assert.deepEqual([status, stdout], [expected, "."]);
    });
  }

  test("nobody reads on: it ends", () => {
    const { status, stdout } = spawnSync("sh", ["-c", `yes aaaa | "${process.execPath}" "${executable}" run --bios "${bareProgram(ECHO)}" 2>/dev/null | head -c 4`], { timeout: 15_000 });
    assert.deepEqual([status, stdout.toString()], [0, "bbbb"]);
  });
});

suite("test programs, as Spike runs them", () => {
  const folder = temporaryFolder();
  const [tohost, fromhost, begin_signature] = [0x80001000, 0x80001040, 0x80002000];
  const symbols = { tohost, fromhost, begin_signature, end_signature: begin_signature + 10 };
  const program = (source: string, some: Readonly<Record<string, number>> = symbols): string => elfProgram(source, 0x3000, some);
  /** riscv-tests' way to end, where gp is the number of a test. */
  const ending = (gp: number): string => `
    la   t0, tohost
    li   gp, ${gp}
    write: sw gp, 0(t0)
    sw   zero, 4(t0)
    j    write`;
  const SIGNATURE = `
    la   t0, begin_signature
    li   t1, 0x0123456789abcdef
    sd   t1, 0(t0)
    sd   t1, 8(t0)
    ${ending(1)}`;

  test("the end through tohost: success, or the number of the test that failed", async () => {
    const passed = await hostelry(["run", "--bios", program(ending(1))]);
    assert.equal(passed.status, 0, passed.stderr);
    const failed = await hostelry(["run", "--bios", program(ending(2 * 17 + 1))]);
    assert.equal(failed.status, 17);
    assert.match(failed.stderr, /^hostelry: .*test 17 failed$/m);
    assert.equal((await hostelry(["run", "--bios", program(ending(2 * 300 + 1))])).status, 71, "a status that is none");
  });

  test("--bios none starts a kernel in M-mode", async () => {
    const { status, stderr } = await hostelry(["run", "--bios", "none", "--kernel", program(`csrr a0, mhartid\n${ending(1)}`)]);
    assert.equal(status, 0, stderr);
  });

  test("the signature, in lines of 4 bytes unless it is said otherwise", async () => {
    const path = join(folder, "signature");
    const elf = program(SIGNATURE);
    assert.equal((await hostelry(["run", "--bios", elf, "--signature", path])).status, 0);
    assert.equal(readFileSync(path, "latin1"), "89abcdef\n01234567\n0000cdef\n");
    assert.equal((await hostelry(["run", "--bios", elf, "--signature", path, "--signature-granularity", "8"])).status, 0);
    assert.equal(readFileSync(path, "latin1"), "0123456789abcdef\n000000000000cdef\n");
  });

  test("characters and system calls", async () => {
    const talk = program(`
      la   t0, tohost
      la   t1, fromhost
      li   t2, 0x0101000000000068   # device 1, command 1: h
      sd   t2, 0(t0)
      sent: ld t2, 0(t0)
      bnez t2, sent
      la   s0, begin_signature
      la   s1, text
      li   a0, 64                   # write(1, text, 2)
      sd   a0, 0(s0)
      li   a0, 1
      sd   a0, 8(s0)
      sd   s1, 16(s0)
      li   a0, 2
      sd   a0, 24(s0)
      sd   s0, 0(t0)
      wait: ld t2, 0(t1)
      beqz t2, wait
      li   a0, 93                   # exit(6)
      sd   a0, 0(s0)
      li   a0, 6
      sd   a0, 8(s0)
      sd   s0, 0(t0)
      stay: j stay
      text: .word 0x0a69`);
    const { status, stdout } = await hostelry(["run", "--bios", talk]);
    assert.deepEqual([status, stdout], [6, "hi\n"]);
  });

  test("what can't be is said in one line", async () => {
    const plain = program(ending(1), { tohost, fromhost });
    for (const [args, message] of [
      [["--bios", plain, "--signature", join(folder, "none")], /begin_signature/],
      [["--bios", plain, "--signature-granularity", "3"], /1, 2, 4, 8 or 16/],
      [["--bios", "none"], /--kernel/],
    ] as const) {
      const { status, stderr } = await hostelry(["run", ...args]);
      assert.equal(status, 2);
      assert.match(stderr, message);
      assert.equal(stderr.trim().split("\n").length, 1, stderr);
    }
  });
});

suite("a terminal", { skip: spawnSync("script", ["--version"]).status !== 0 && "script (util-linux) is not installed" }, () => {
  /** What a terminal shows when `keys` are typed, and whether it was given back as it was. */
  const inTerminal = (program: string, ...keys: string[]): { screen: string; restored: boolean } => {
    const command = `stty -g; "${process.execPath}" "${executable}" run --bios "${program}"; echo "status $?"; stty -g`;
    const { stdout } = spawnSync("sh", ["-c", `(sleep 2; ${keys.map((some) => `printf '${some}'; sleep 1`).join("; ")}) | script -qec '${command}' /dev/null`], { timeout: 30_000 });
    const screen = stdout.toString("latin1");
    const settings = screen.match(/^[0-9a-f]+(:[0-9a-f]+){5,}/gm) ?? [];
    return { screen, restored: settings.length === 2 && settings[0] === settings[1] };
  };

  test("Ctrl-A X leaves, Ctrl-A H helps, Ctrl-C is the guest's", () => {
    const { screen, restored } = inTerminal(bareProgram(ECHO), "\\002\\003\\001h\\001\\001", "\\001x");
    assert.match(screen, /Ctrl-A X leaves, Ctrl-A H helps/);
    assert.match(screen, /\x03\x04/);
    assert.match(screen, /this help/);
    assert.match(screen, /\x02/);
    assert.match(screen, /status 0/);
    assert.ok(restored, screen);
  });

  test("it is given back when the guest ends, and lines that it left open are ended", () => {
    const { screen, restored } = inTerminal(bareProgram(ECHO), "aq");
    assert.match(screen, /b\x1b\[0m.*\r\nstatus 0/s);
    assert.ok(restored, screen);
  });
});

suite("bad input: one line that says what to do, status 2, no file harmed", () => {
  const folder = temporaryFolder();
  const file = (name: string, bytes: string | Uint8Array): string => {
    const path = join(folder, name);
    writeFileSync(path, bytes);
    return path;
  };
  const elf = Buffer.from(readFileSync(process.execPath).subarray(0, 4096));
  const image = Buffer.alloc(4096);
  image.writeBigUInt64LE(0x200000n, 8);
  image.writeBigUInt64LE(0x4000000n, 16);
  image.writeUInt32LE(0x05435352, 0x38);
  const kernel = file("kernel", image);
  const big = file("big", "");
  truncateSync(big, 100 << 20);
  const odd = file("odd.img", Buffer.alloc(777, 1));
  const program = bareProgram(HI);

  const cases: [string, readonly string[], RegExp][] = [
    ["a kernel that isn't there", ["run", "--kernel", "/nowhere/vmlinux"], /the kernel \/nowhere\/vmlinux is not there/],
    ["a truncated kernel", ["run", "--kernel", file("cut", image.subarray(0, 40))], /only 40 bytes/],
    ["another architecture's kernel", ["run", "--kernel", file("x86", elf)], /this machine is 64-bit little-endian RISC-V/],
    ["a directory", ["run", "--kernel", folder], /is a directory/],
    ["a kernel larger than memory", ["run", "--kernel", kernel, "--memory", "32M"], /too small.*--memory \d+M or more/],
    ["an initrd that doesn't fit", ["run", "--kernel", kernel, "--initrd", big, "--memory", "128M"], /too small.*the initrd 100M/],
    ["an initrd that isn't there", ["run", "--kernel", kernel, "--initrd", "/nowhere/initrd"], /the initrd \/nowhere\/initrd is not there/],
    ["firmware that isn't there", ["run", "--bios", "/nowhere/bios"], /the firmware \/nowhere\/bios is not there/],
    ["a drive that isn't there", ["run", "--bios", program, "--drive", "/nowhere/disk"], /the drive \/nowhere\/disk is not there/],
    ["a drive of no whole sectors", ["run", "--bios", program, "--drive", odd], /not a multiple of 512/],
    ["a drive twice", ["run", "--bios", program, "--drive", big, "--drive", big], /given twice/],
    ["too many drives", ["run", "--bios", program, ...Array.from({ length: 7 }, () => ["--drive", `${big},ro`]).flat()], /at most 6/],
    ["a size without unit", ["run", "--memory", "512"], /say 512M/],
    ["a size that is none", ["run", "--memory", "lots"], /is no size/],
    ["more memory than there can be", ["run", "--bios", program, "--memory", "64G"], /give at most \d+M/],
    ["a clock that is none", ["run", "--clock", "sundial"], /host, instructions/],
    ["a seed that is none", ["run", "--seed", "x"], /--seed "x"/],
    ["an option that is none", ["run", "--memry", "1G"], /Did you mean --memory\?/],
    ["a command that is none", ["runn"], /Did you mean run\?/],
    ["an image that isn't there", ["run", "nosuch"], /no image nosuch/],
    ["a TLB that software fills, in VS-mode", ["run", "--tlb", "software", "--cpu", "hardware", "--kernel", kernel], /choose trap-and-emulate or binary-translation/],
    ["an image and a kernel", ["run", "nosuch", "--kernel", kernel], /leave out one/],
  ];
  for (const [what, args, message] of cases) {
    test(what, async () => {
      const { status, stdout, stderr } = await hostelry(args, { timeoutMs: 60_000 });
      assert.match(stderr, message);
      assert.deepEqual([status, stdout, stderr.trimEnd().split("\n").length], [2, "", 1], stderr);
      assert.ok(!stderr.includes("    at "));
    });
  }

  test("no file was harmed", () => {
    assert.deepEqual(readFileSync(odd), Buffer.alloc(777, 1));
    assert.deepEqual(readFileSync(kernel), image);
  });
});

suite("help", () => {
  test("--help has examples; NO_COLOR and pipes get plain text", async () => {
    const { status, stdout } = await hostelry(["--help"]);
    assert.equal(status, 0);
    assert.match(stdout, /Examples:/);
    assert.ok(!stdout.includes("\x1b"));
  });

  test("doctor says what is there, as JSON too", async () => {
    const { status, stdout } = await hostelry(["doctor", "--json"]);
    assert.equal(status, 0);
    assert.ok(JSON.parse(stdout).some(({ what }: { what: string }) => what.startsWith("Node")));
  });
});
