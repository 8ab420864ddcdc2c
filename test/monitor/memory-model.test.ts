/**
 * Long random runs of whatever happens to memory: guests read, write and execute it, devices do, pages become alike and are shared, are given to
 * balloons, are paged out, are sampled; VMs come, go, change their technique, move. After each step all tables are walked, and each guest finds what it has put there.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Balloon } from "#monitor/memory/balloon.ts";
import { Hints } from "#monitor/memory/hints.ts";
import { victims } from "#monitor/memory/paging.ts";
import { saltOf, Sharing } from "#monitor/memory/sharing.ts";
import { address } from "#platform/memory-map.ts";
import { cases, seed } from "../kit/effort.ts";
import { auditMemory } from "../kit/memory-audit.ts";
import { TestMonitor, type TestVm } from "../kit/monitor.ts";
import { Random } from "../kit/random.ts";
import { TestStore } from "../kit/store.ts";
import { allTechniques, titleOf } from "../kit/techniques.ts";

const PAGE = 4096;
const MIB = 1 << 20;
const FIRST = address.memory / PAGE;
/** Pages of the guest's: where it gets its orders, and those that they are about. */
const ORDERS = FIRST + 32;
const [DATA, PAGES] = [FIRST + 64, 48];
const MOST_ORDERS = 64;
const MOST_VMS = 4;
/** A guest that has done its orders goes round for so many instructions. */
const SLICE = 2000;

/** Does what its orders say, each an address, an operation and a value: 0 load, 1 store, 2 add, 3 swap by LR and SC, 4 call. A load leaves in place of the value what it has found. */
const GUEST = `
  li   s0, ${ORDERS * PAGE}
  wait:
  ld   t0, 0(s0)
  beqz t0, wait
  addi s1, s0, 16
  next:
  ld   t1, 0(s1)
  ld   t2, 8(s1)
  ld   t3, 16(s1)
  bnez t2, notload
  ld   t3, 0(t1)
  sd   t3, 16(s1)
  j    done
  notload:
  addi t2, t2, -1
  bnez t2, notstore
  sd   t3, 0(t1)
  j    done
  notstore:
  addi t2, t2, -1
  bnez t2, notadd
  amoadd.d zero, t3, (t1)
  j    done
  notadd:
  addi t2, t2, -1
  bnez t2, notswap
  again:
  lr.d t4, (t1)
  sc.d t4, t3, (t1)
  bnez t4, again
  j    done
  notswap:
  fence.i
  jalr t1
  sd   a0, 16(s1)
  done:
  addi s1, s1, 24
  addi t0, t0, -1
  bnez t0, next
  sd   zero, 0(s0)
  j    wait
  `;

/** li a0, n (for small n), and back. */
const code = (n: number): bigint => BigInt((n << 20) | (10 << 7) | 0x13) | (0x00008067n << 32n);

interface Member {
  readonly guest: TestVm;
  readonly balloon: Balloon;
  /** What each page of DATA holds, as words of 8 bytes. */
  readonly model: BigUint64Array[];
}

class Scene {
  readonly random: Random;
  readonly store = new TestStore(4096);
  readonly monitor: TestMonitor;
  readonly sharing: Sharing;
  readonly members: Member[] = [];
  log: string[] = [];

  constructor(runSeed: number) {
    this.random = new Random(runSeed);
    this.monitor = new TestMonitor({ translate: this.random.oneIn(2), memory: 4 * MIB, store: this.store });
    this.sharing = new Sharing(this.monitor.memory, Hints.create(this.monitor.frames.total));
  }

  step(): void {
    const { random, members } = this;
    if (members.length < 2 || (members.length < MOST_VMS && random.oneIn(40))) return this.create();
    const member = random.pick(members);
    const steps = [
      () => this.orders(member), () => this.orders(member), () => this.orders(member), () => this.orders(member),
      () => this.copy(member), () => this.copy(member), () => this.clear(member),
      () => this.scan(), () => this.scan(), () => this.pageOut(member), () => this.pageOut(member),
      () => this.inflate(member), () => this.deflate(member), () => this.hide(member), () => this.device(member),
      () => this.look(member), () => this.switch(member), () => random.oneIn(6) && this.move(member), () => random.oneIn(12) && this.kill(member),
    ];
    random.pick(steps)();
  }

  check(): void {
    auditMemory(this.monitor.memory, this.members.map(({ guest }) => guest.vm.memory));
  }

  end(): void {
    for (const member of this.members) for (let page = 0; page < PAGES; page++) this.expect(member, page);
    while (this.members.length > 0) this.kill(this.members[0]!);
    assert.equal(this.monitor.frames.available, this.monitor.frames.usable);
    assert.equal(this.store.slots.used, 0);
  }

  create(): void {
    const guest = this.monitor.create(GUEST, { memory: 8 * MIB, technique: this.random.pick(allTechniques) });
    this.log.push(`create ${guest.vm.id} ${titleOf(guest.vm.technique)}`);
    guest.vm.computer.longestSlice = SLICE;
    this.sharing.add({ memory: guest.vm.memory, salt: saltOf("") });
    if (this.random.oneIn(2)) this.sharing.offerAll(guest.vm.memory);
    this.monitor.start(guest);
    this.members.push({ guest, balloon: new Balloon(guest.vm.memory), model: Array.from({ length: PAGES }, () => new BigUint64Array(PAGE / 8)) });
  }

  kill(member: Member): void {
    const { guest } = member;
    this.log.push(`kill ${guest.vm.id}`);
    this.monitor.monitor.stop(guest.vm);
    this.sharing.remove(guest.vm.memory);
    guest.vm.release();
    this.members.splice(this.members.indexOf(member), 1);
  }

  /** The guest does a number of things, and finds what the model has. */
  orders({ guest, model }: Member): void {
    const { random } = this;
    const orders = Array.from({ length: 1 + random.below(MOST_ORDERS) }, () => ({
      page: random.below(PAGES), word: random.oneIn(2) ? 0 : random.below(PAGE / 8 - 1), operation: random.pick([0, 0, 0, 1, 1, 2, 3, 4]), value: random.u64() >> 8n,
    }));
    this.log.push(`orders ${guest.vm.id} ${orders.length}`);
    const expected: (bigint | undefined)[] = [];
    const view = this.#view(guest, ORDERS);
    orders.forEach(({ page, word, operation, value }, i) => {
      const words = model[page]!;
      const n = Number(value % 1000n);
      // What is to be called is put there first, by the model and by a device.
      if (operation === 4) this.#write(guest, page, word, (words[word] = code(n)));
      view.setBigUint64(16 + 24 * i, BigInt((DATA + page) * PAGE + 8 * word), true);
      view.setBigUint64(24 + 24 * i, BigInt(operation), true);
      view.setBigUint64(32 + 24 * i, value, true);
    });
    // A later order may write over what an earlier one calls: the model goes by the order.
    orders.forEach(({ page, word, operation, value }) => {
      const words = model[page]!;
      if (operation === 0) expected.push(words[word]);
      else if (operation === 4) expected.push(words[word] === code(Number(value % 1000n)) ? value % 1000n : undefined);
      else {
        expected.push(undefined);
        words[word] = operation === 2 ? words[word]! + value : value;
      }
    });
    if (orders.some(({ operation }, i) => operation === 4 && expected[i] === undefined)) return this.#undo(guest, model);
    this.#view(guest, ORDERS).setBigUint64(0, BigInt(orders.length), true);
    this.monitor.run(() => this.#view(guest, ORDERS, "read").getBigUint64(0, true) === 0n);
    const found = this.#view(guest, ORDERS, "read");
    assert.equal(found.getBigUint64(0, true), 0n, "the guest did not do what it was told");
    expected.forEach((value, i) => {
      if (value !== undefined) assert.equal(found.getBigUint64(32 + 24 * i, true), value, `order ${i}: ${JSON.stringify({ ...orders[i], value: `${orders[i]!.value}` })}`);
    });
  }

  /** Makes a page like another, of whichever VM. */
  copy(member: Member): void {
    const { random } = this;
    const [from, to] = [random.below(PAGES), random.below(PAGES)];
    const words = random.pick(this.members).model[from]!;
    this.log.push(`copy to ${member.guest.vm.id} ${to}`);
    member.model[to]!.set(words);
    this.#bytes(member.guest, to).set(new Uint8Array(words.buffer));
  }

  clear(member: Member): void {
    const page = this.random.below(PAGES);
    this.log.push(`clear ${member.guest.vm.id} ${page}`);
    member.model[page]!.fill(0n);
    this.#bytes(member.guest, page).fill(0);
  }

  scan(): void {
    this.log.push(`scan ${this.sharing.scan(1 + this.random.below(512)).merged}`);
  }

  pageOut({ guest }: Member): void {
    const { memory } = guest.vm;
    memory.settle();
    const gone = memory.pageOut(victims(memory, 1 + this.random.below(40), this.random));
    this.log.push(`page out ${guest.vm.id} ${gone}`);
  }

  inflate({ guest, balloon, model }: Member): void {
    const pages = Array.from({ length: this.random.below(12) }, () => this.random.below(PAGES));
    this.log.push(`inflate ${guest.vm.id} ${pages}`);
    (this.random.oneIn(2) ? balloon.inflate : balloon.report).call(balloon, pages.map((page) => DATA + page));
    for (const page of pages) model[page]!.fill(0n);
  }

  deflate({ guest, balloon }: Member): void {
    this.log.push(`deflate ${guest.vm.id}`);
    if (this.random.oneIn(3)) balloon.deflateAll();
    else balloon.deflate(Array.from({ length: this.random.below(12) }, () => DATA + this.random.below(PAGES)));
  }

  hide({ guest }: Member): void {
    const pages = Array.from({ length: this.random.below(20) }, () => FIRST + this.random.below(256));
    this.log.push(`hide ${guest.vm.id} ${pages}`);
    guest.vm.memory.hide(pages);
  }

  device({ guest, model }: Member): void {
    const [page, word] = [this.random.below(PAGES), this.random.below(PAGE / 8)];
    this.log.push(`device ${guest.vm.id} ${page}`);
    this.#write(guest, page, word, (model[page]![word] = this.random.u64()));
  }

  look(member: Member): void {
    this.log.push(`look ${member.guest.vm.id}`);
    this.expect(member, this.random.below(PAGES));
  }

  switch({ guest }: Member): void {
    const technique = this.random.pick(allTechniques);
    this.log.push(`switch ${guest.vm.id} ${titleOf(technique)}`);
    guest.vm.setTechnique(technique);
  }

  /** As it goes to another hart: all that it is, is saved, and made anew. */
  move(member: Member): void {
    const { guest, model } = member;
    this.log.push(`move ${guest.vm.id}`);
    this.monitor.monitor.stop(guest.vm);
    this.sharing.remove(guest.vm.memory);
    const { id, technique } = guest.vm;
    const saved = guest.vm.save();
    guest.vm.memory.forget();
    this.monitor.processor.hart.exports.flushAll(this.monitor.processor.map.hart);
    const moved = this.monitor.create(undefined, { id, memory: 8 * MIB, technique }, saved);
    moved.vm.computer.longestSlice = SLICE;
    this.sharing.add({ memory: moved.vm.memory, salt: saltOf("") });
    this.monitor.start(moved);
    this.members[this.members.indexOf(member)] = { guest: moved, balloon: new Balloon(moved.vm.memory), model };
  }

  expect({ guest, model }: Member, page: number): void {
    const bytes = guest.vm.memory.readable((DATA + page) * PAGE, PAGE);
    assert.deepEqual(new BigUint64Array(bytes.slice().buffer), model[page], `page ${page} of VM ${guest.vm.id}`);
  }

  /** The model has gone ahead of a guest that is not asked: it gets what the model has. */
  #undo(guest: TestVm, model: readonly BigUint64Array[]): void {
    model.forEach((words, page) => this.#bytes(guest, page).set(new Uint8Array(words.buffer)));
  }

  #write(guest: TestVm, page: number, word: number, value: bigint): void {
    const bytes = guest.vm.memory.writable((DATA + page) * PAGE + 8 * word, 8);
    new DataView(bytes.buffer, bytes.byteOffset, 8).setBigUint64(0, value, true);
  }

  #bytes(guest: TestVm, page: number): Uint8Array {
    return guest.vm.memory.writable((DATA + page) * PAGE, PAGE);
  }

  #view(guest: TestVm, page: number, how: "read" | "write" = "write"): DataView {
    const { memory } = guest.vm;
    const bytes = how === "read" ? memory.readable(page * PAGE, PAGE) : memory.writable(page * PAGE, PAGE);
    return new DataView(bytes.buffer, bytes.byteOffset, PAGE);
  }
}

for (let run = 0; run < cases(6); run++) test(`memory, after each of many steps (seed ${seed + run})`, () => {
  const scene = new Scene(seed + run);
  try {
    for (let step = 0; step < 300; step++) {
      scene.step();
      scene.check();
    }
    scene.end();
  } catch (error) {
    console.error(scene.log.slice(-12).join("\n"));
    throw error;
  }
});
