import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { SbiError } from "#devices/sbi.ts";
import { Frames } from "#machine/frames.ts";
import { memoryMap } from "#machine/layout.ts";
import { PhysicalMemory } from "#machine/physical-memory.ts";
import { allocate } from "#machine/processor.ts";
import { DirectTables } from "../memory/direct.ts";
import { Grants } from "../memory/grants.ts";
import { GuestMemory } from "../memory/guest-memory.ts";
import { MachineMemory } from "../memory/machine-memory.ts";
import { SLOTS, SplitEntropy } from "./split.ts";
import { RING_SIZE, SplitConsole } from "./split-console.ts";

const PAGES = 16;
const BASE = 0x8000_0000;
const FIRST = BASE / 4096;
const MACHINE_PAGES = 64;
const { success, invalidParameter, denied, alreadyAvailable } = SbiError;
const [GRANTED, WRITABLE, IN_USE] = [1, 2, 4];
/** Pages of the guest's. */
const [LIST, RING, BUFFER, RESERVED, TABLE] = [0, 1, 2, 3, 4];
/** Their references, where they are granted. */
const [TO_RING, TO_BUFFER] = [0, 1];

function setUp() {
  const map = memoryMap(MACHINE_PAGES * 4096);
  const machine = new MachineMemory(Frames.create(MACHINE_PAGES), map, new PhysicalMemory(allocate(map), map, () => {}));
  const memory = new GuestMemory(machine, 1, { base: BASE, size: PAGES * 4096 });
  const other = new GuestMemory(machine, 2, { base: BASE, size: PAGES * 4096 });
  const direct = new DirectTables({ memory, flush: () => {}, tableEnded: () => {} });
  const number = (n: number): number => direct.numberOf(FIRST + n);
  for (let n = 0; n < PAGES; n++) number(n);
  const counts = { events: 0 };
  const make = { memory, direct, isReserved: (page: number) => page === FIRST + RESERVED };
  const grants = new Grants(make);
  const options = { memory, source: { fill: (bytes: Uint8Array) => void bytes.fill(0x5a) }, event: () => void counts.events++ };
  const entropy = new SplitEntropy({ ...options, grants });
  const words = (n: number): Uint32Array => machine.words.subarray(machine.wordOf(memory.own(FIRST + n)), machine.wordOf(memory.own(FIRST + n)) + 1024);
  const grant = (reference: number, frame: number, flags = GRANTED | WRITABLE): void => words(LIST).set([flags, frame], 2 * reference);
  /** Puts a request in the ring's next slot, and returns its number. */
  const ask = (reference: number, offset: number, length: number): number => {
    const asked = words(RING)[0]!++;
    words(RING).set([asked, reference, offset, length], 16 + 4 * (asked % SLOTS));
    return asked;
  };
  const status = (asked: number): number => words(RING)[16 + 4 * (asked % SLOTS) + 1]! | 0;
  const connected = (): void => {
    grant(TO_RING, number(RING));
    grant(TO_BUFFER, number(BUFFER));
    assert.equal(grants.attach(FIRST + LIST), success);
    assert.equal(entropy.connect(TO_RING), success);
  };
  return { memory, other, machine, direct, number, counts, make, grants, options, entropy, words, grant, ask, status, connected };
}

suite("a split driver", () => {
  test("fills what a request names, again and again around the ring", () => {
    const { entropy, words, ask, status, connected, counts } = setUp();
    connected();
    for (let round = 0; round < 3; round++) {
      words(BUFFER).fill(0);
      const asked = [ask(TO_BUFFER, 4, 8), ...Array.from({ length: SLOTS - 1 }, () => ask(TO_BUFFER, 4096, 0))];
      assert.equal(entropy.kick(), success);
      assert.deepEqual([...words(BUFFER).subarray(0, 4)], [0, 0x5a5a5a5a, 0x5a5a5a5a, 0]);
      assert.equal(status(asked[0]!), 8);
      assert.equal(status(asked[1]!), invalidParameter);
      assert.equal(words(RING)[1], SLOTS * (round + 1));
    }
    assert.equal(counts.events, 0, "nobody wanted one: 0 has long passed");
  });

  test("tells of the response that the front end waits for, once", () => {
    const { entropy, words, ask, connected, counts } = setUp();
    connected();
    words(RING)[2] = 2;
    const events = [1, 2, 3].map(() => {
      ask(TO_BUFFER, 0, 1);
      entropy.kick();
      return counts.events;
    });
    assert.deepEqual(events, [0, 1, 1]);
  });

  test("a ring whose count is out of range is left alone", () => {
    const { entropy, words, connected } = setUp();
    connected();
    for (const requests of [SLOTS + 1, 0xffff_ffff, 0x8000_0000]) {
      words(RING)[0] = requests;
      const before = words(RING).slice();
      assert.equal(entropy.kick(), invalidParameter);
      assert.deepEqual(words(RING), before);
    }
    words(RING)[0] = 0;
    assert.equal(entropy.kick(), success);
  });

  test("the counts go round at 2^32", () => {
    const { entropy, words, grant, number, grants, options, ask, status } = setUp();
    grant(TO_RING, number(RING));
    grant(TO_BUFFER, number(BUFFER));
    grants.attach(FIRST + LIST);
    const page = grants.take(TO_RING, "write");
    const late = new SplitEntropy({ ...options, grants }, { page, reference: TO_RING, done: 0xffff_ffff });
    words(RING)[0] = 0xffff_ffff;
    const asked = [ask(TO_BUFFER, 0, 1), ask(TO_BUFFER, 1, 2)];
    assert.equal(late.kick(), success);
    assert.deepEqual(asked.map(status), [1, 2]);
    assert.equal(words(RING)[1], 1);
    assert.equal(entropy.kick(), denied, "not connected");
  });

  test("what may not be granted is refused, and nobody's memory changes", () => {
    const { entropy, words, grant, ask, status, connected, direct, number, other, machine } = setUp();
    connected();
    const foreign = other.own(FIRST);
    assert.equal(direct.pin(number(TABLE), 0), success);
    grant(2, machine.pageNumber(foreign));
    grant(3, number(TABLE));
    grant(4, number(RESERVED));
    grant(5, number(LIST));
    grant(6, number(BUFFER), GRANTED);
    grant(7, number(BUFFER), WRITABLE);
    grant(8, 0xffff_ffff);
    const cases: readonly (readonly [what: string, refusal: number, reference: number, offset?: number, length?: number])[] = [
      ["another VM's frame", denied, 2], ["a table", denied, 3], ["the shared page", denied, 4], ["the list of grants", denied, 5], ["read-only", denied, 6],
      ["not granted", denied, 7], ["no frame", denied, 8], ["nothing", denied, 9], ["the ring itself, which is in use", alreadyAvailable, TO_RING],
      ["beyond the list", invalidParameter, 512], ["far beyond it", invalidParameter, 0xffff_ffff], ["beyond the page", invalidParameter, TO_BUFFER, 4090, 7],
      ["far beyond it", invalidParameter, TO_BUFFER, 0xffff_ffff, 0xffff_ffff], ["nothing after it", invalidParameter, TO_BUFFER, 4096, 0],
    ];
    const pages = [BUFFER, RESERVED, TABLE].map((n) => words(n).slice());
    const asked = cases.map(([, , reference, offset = 0, length = 16]) => ask(reference, offset, length));
    assert.equal(entropy.kick(), success);
    cases.forEach(([what, refusal], i) => assert.equal(status(asked[i]!), refusal, what));
    assert.deepEqual([BUFFER, RESERVED, TABLE].map((n) => words(n)), pages);
    assert.ok(machine.readable(foreign).every((byte) => byte === 0));
  });

  test("a grant in use is not revoked, and its page becomes no table; then both", () => {
    const { entropy, grants, words, ask, status, connected, direct, number } = setUp();
    connected();
    assert.equal(words(LIST)[0], GRANTED | WRITABLE | IN_USE);
    assert.equal(grants.revoke(TO_RING), denied);
    // The guest's own pen doesn't end it either.
    words(LIST).fill(0, 0, 2);
    assert.equal(direct.pin(number(RING), 0), denied);
    assert.equal(grants.revoke(TO_BUFFER), success);
    const asked = ask(TO_BUFFER, 0, 16);
    assert.equal(entropy.kick(), success);
    assert.equal(status(asked), denied, "a grant that was revoked");
    assert.equal(direct.pin(number(BUFFER), 0), success);
    assert.equal(entropy.disconnect(), success);
    assert.equal(entropy.disconnect(), denied);
    assert.equal(grants.revoke(TO_RING), success);
    assert.equal(grants.revoke(512), invalidParameter);
    words(RING).fill(0);
    assert.equal(direct.pin(number(RING), 0), success);
    assert.equal(direct.pin(number(LIST), 0), denied, "the list stays");
    assert.equal(entropy.connect(TO_RING), denied);
  });

  test("without a list there are no grants, and there is one list, in no table", () => {
    const { entropy, grants, direct, number } = setUp();
    assert.deepEqual([entropy.connect(0), grants.revoke(0), entropy.kick()], [denied, denied, denied]);
    assert.equal(direct.pin(number(TABLE), 0), success);
    assert.deepEqual([TABLE, LIST, BUFFER].map((n) => grants.attach(FIRST + n)), [denied, success, alreadyAvailable]);
  });

  test("goes on elsewhere", () => {
    const { make, grants, options, entropy, ask, status, connected } = setUp();
    connected();
    ask(TO_BUFFER, 0, 1);
    entropy.kick();
    const saved = structuredClone({ grants: grants.save(), entropy: entropy.save() });
    const moved = new Grants(make, saved.grants);
    const after = new SplitEntropy({ ...options, grants: moved }, saved.entropy);
    const asked = ask(TO_BUFFER, 0, 3);
    assert.equal(after.kick(), success);
    assert.equal(status(asked), 3);
    assert.equal(moved.revoke(TO_RING), denied);
    assert.equal(after.disconnect(), success);
  });
});

suite("a console's rings", () => {
  const [OUTPUT, INPUT] = [5, 6];
  const [TO_OUTPUT, TO_INPUT] = [2, 3];
  const put = 0;
  const taken = 1;

  /** What is typed waits in `typed` until it is taken. */
  function withConsole() {
    const given = setUp();
    const { words, grant, number, grants, memory } = given;
    const outside = { output: "", typed: "", events: 0 };
    const deliver = (): void => {
      if (outside.typed !== "") outside.typed = outside.typed.slice(console.receive(Buffer.from(outside.typed)));
    };
    const door = { output: (bytes: Uint8Array): void => void (outside.output += Buffer.from(bytes).toString()), ready: deliver };
    const options = { memory, grants, door, event: (): void => void outside.events++ };
    let console = new SplitConsole(options);
    const ring = (n: number): Buffer => Buffer.from(words(n).buffer, words(n).byteOffset + 4096 - RING_SIZE, RING_SIZE);
    const write = (text: string): void => {
      for (const byte of Buffer.from(text)) ring(OUTPUT)[words(OUTPUT)[put]!++ % RING_SIZE] = byte;
    };
    const read = (): string => {
      let text = "";
      for (; words(OUTPUT)[taken] !== words(INPUT)[put]; words(OUTPUT)[taken]!++) text += String.fromCharCode(ring(INPUT)[words(OUTPUT)[taken]! % RING_SIZE]!);
      return text;
    };
    grant(TO_OUTPUT, number(OUTPUT), GRANTED);
    grant(TO_INPUT, number(INPUT));
    assert.equal(grants.attach(FIRST + LIST), success);
    const move = (): void => {
      const saved = structuredClone(console.save());
      console = new SplitConsole(options, saved);
    };
    return { ...given, outside, write, read, deliver, move, console: () => console };
  }

  test("bytes go both ways, again and again around, also after a move", () => {
    const { console, outside, write, read, deliver, move } = withConsole();
    assert.equal(console().connect(TO_OUTPUT, TO_INPUT), success);
    let sent = "";
    for (let n = 0; n < 100; n++) {
      const text = `line ${n} of a text that goes round the end of its ring\n`;
      write(text);
      sent += text;
      assert.equal(console().kick(), success);
      outside.typed = text;
      deliver();
      assert.equal(read(), text);
      if (n % 10 === 0) move();
    }
    assert.equal(outside.output, sent);
    assert.equal(outside.events, 100);
  });

  test("input that finds no room comes when there is some", () => {
    const { console, outside, read } = withConsole();
    console().connect(TO_OUTPUT, TO_INPUT);
    const text = Array.from({ length: 1000 }, (_, n) => `${n},`).join("");
    outside.typed = text;
    let got = "";
    for (let n = 0; n < 4; n++) {
      assert.equal(console().kick(), success);
      got += read();
    }
    assert.equal(got, text);
    assert.equal(outside.events, Math.ceil(text.length / RING_SIZE));
  });

  test("the guest's own page needs to be granted for reading only, and is not written to; the other for writing", () => {
    const { console, outside, write, words, grant, number, grants } = withConsole();
    assert.deepEqual([console().connect(TO_OUTPUT, TO_OUTPUT), console().connect(TO_INPUT, TO_OUTPUT)], [alreadyAvailable, denied]);
    assert.equal(words(LIST)[2 * TO_INPUT]! & IN_USE, 0, "what was taken before the refusal was given back");
    grant(9, number(OUTPUT), WRITABLE);
    assert.deepEqual([9, 10, 512].map((reference) => console().connect(reference, TO_INPUT)), [denied, denied, invalidParameter]);
    assert.equal(console().connect(TO_OUTPUT, TO_INPUT), success);
    assert.equal(console().connect(TO_OUTPUT, TO_INPUT), alreadyAvailable);
    assert.deepEqual([grants.revoke(TO_OUTPUT), grants.revoke(TO_INPUT)], [denied, denied]);
    write("hello");
    const before = words(OUTPUT).slice();
    outside.typed = "hello";
    assert.equal(console().kick(), success);
    assert.deepEqual(words(OUTPUT), before);
    assert.deepEqual([outside.output, words(INPUT)[taken]], ["hello", 5]);
    assert.deepEqual([console().disconnect(), console().disconnect(), console().kick()], [success, denied, denied]);
    assert.deepEqual([grants.revoke(TO_OUTPUT), grants.revoke(TO_INPUT)], [success, success]);
  });

  test("pages that are not the guest's, and tables, are refused", () => {
    const { console, grant, number, direct, machine, other, outside } = withConsole();
    assert.equal(direct.pin(number(TABLE), 0), success);
    const foreign = machine.pageNumber(other.own(FIRST));
    for (const frame of [foreign, number(TABLE), number(RESERVED), number(LIST), 0xffff_ffff]) {
      grant(8, frame);
      assert.deepEqual([console().connect(8, TO_INPUT), console().connect(TO_OUTPUT, 8)], [denied, denied], `${frame}`);
    }
    assert.equal(outside.output, "");
  });

  test("counts that lie bring nothing, and nothing is done by them", () => {
    const { console, outside, words, write, deliver } = withConsole();
    console().connect(TO_OUTPUT, TO_INPUT);
    for (const lie of [RING_SIZE + 1, 0x8000_0000, 0xffff_ffff]) {
      words(OUTPUT)[put] = lie;
      assert.equal(console().kick(), invalidParameter);
    }
    words(OUTPUT)[put] = 0;
    outside.typed = "typed";
    for (const lie of [1, 0x8000_0000, 0xffff_ffff - RING_SIZE]) {
      words(OUTPUT)[taken] = lie;
      deliver();
      assert.equal(outside.typed, "typed", "no room: it has taken more than there was");
    }
    // What the monitor has written is the monitor's to know.
    words(INPUT).fill(0xffff_ffff, 0, 2);
    words(OUTPUT)[taken] = 0;
    write("still");
    assert.equal(console().kick(), success);
    assert.deepEqual([outside.output, outside.typed, words(INPUT)[put], words(INPUT)[taken]], ["still", "", 5, 5]);
  });

  test("a full ring is taken at once", () => {
    const { console, outside, write } = withConsole();
    console().connect(TO_OUTPUT, TO_INPUT);
    write("x".repeat(RING_SIZE));
    assert.equal(console().kick(), success);
    assert.equal(outside.output.length, RING_SIZE);
  });
});
