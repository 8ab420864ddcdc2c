import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { MemoryManager, type Holding, type MemoryOrder } from "./manager.ts";

const MIB = 256;

/** A guest that uses what it can of `wants`, holds on to what it has touched, touches what was paged out, and whose balloon takes 50 MiB a second, if it has a driver. */
class Guest {
  readonly max: number;
  readonly shares: number;
  min = 0;
  allowed: number;
  wants: number;
  active: number;
  hasDriver = true;
  own = 0;
  shared = 0;
  ballooned = 0;
  pagedOut = 0;

  constructor(memory: number, wants: number, active: number, shares = 100) {
    this.max = this.allowed = memory * MIB;
    this.wants = wants * MIB;
    this.active = active;
    this.shares = shares;
  }

  /** For a second; returns how much of `free` it took. */
  run(free: number, order: MemoryOrder): number {
    const before = this.own;
    if (this.hasDriver) this.ballooned += Math.max(-50 * MIB, Math.min(50 * MIB, order.balloon - this.ballooned));
    this.own = Math.min(this.own, this.max - this.ballooned);
    const out = Math.max(this.own - order.limit, 0);
    this.own -= out;
    this.pagedOut += out;
    if (!order.blocked) {
      const back = Math.min(this.pagedOut, 5 * MIB, free);
      this.pagedOut -= back;
      this.own += back + Math.max(0, Math.min(this.wants - this.own - this.pagedOut - back, this.max - this.ballooned - this.own - this.pagedOut - back, 20 * MIB, free - back));
    }
    return this.own - before;
  }

  get inMiB(): number {
    return Math.round(this.own / MIB);
  }
}

class Machine {
  readonly manager = new MemoryManager<Guest>();
  readonly total: number;
  readonly guests: readonly Guest[];
  orders = new Map<Guest, MemoryOrder>();
  #now = 0;

  constructor(memory: number, guests: readonly Guest[]) {
    this.total = memory * MIB;
    this.guests = guests;
  }

  get free(): number {
    return this.guests.reduce((left, { own }) => left - own, this.total);
  }

  run(seconds: number): this {
    for (let i = 0; i < seconds; i++) {
      this.orders = this.step();
      let { free } = this;
      for (const guest of this.guests) free -= guest.run(free, this.orders.get(guest)!);
    }
    return this;
  }

  step(): Map<Guest, MemoryOrder> {
    return this.manager.step(new Map<Guest, Holding>(this.guests.map((guest) => [guest, guest])), this.free, this.total, 1000 * this.#now++);
  }
}

const targetsOf = (machine: Machine): number[] => machine.guests.map((guest) => Math.round(machine.orders.get(guest)!.target / MIB));
const close = (actual: number, expected: number, by = 4): void => assert.ok(Math.abs(actual - expected) <= by, `${actual}, not ${expected}`);

suite("the memory manager", () => {
  test("leaves everyone alone while there is enough", () => {
    const machine = new Machine(1024, Array.from({ length: 16 }, () => new Guest(128, 40, 0.1))).run(30);
    assert.deepEqual(targetsOf(machine), Array.from({ length: 16 }, () => 128));
    assert.ok(machine.guests.every(({ inMiB, ballooned, pagedOut }) => inMiB === 40 && ballooned === 0 && pagedOut === 0));
    assert.equal(machine.manager.state, "high");
  });

  test("moves memory from the idle to the busy when the tax rises, and back", () => {
    const [idle, busy] = [new Guest(256, 256, 0.2), new Guest(256, 256, 1)];
    const machine = new Machine(360, [idle, busy]);
    machine.manager.change({ idleTax: 0 });
    machine.run(120);
    const available = 360 * (1 - 1.2 * 0.06);
    close(idle.inMiB, available / 2);
    close(busy.inMiB, available / 2);
    machine.manager.change({ idleTax: 0.75 });
    machine.run(120);
    // Of the idle one's P pages 51 are active: 51 + 4 (P - 51) = available - P.
    close(idle.inMiB, (available + 3 * 51.2) / 5);
    close(busy.inMiB, available - (available + 3 * 51.2) / 5);
    assert.equal(machine.manager.state, "high");
    machine.manager.change({ rule: "pure-shares" });
    machine.run(120);
    close(busy.inMiB, available / 2);
    assert.equal(idle.pagedOut + busy.pagedOut, 0);
  });

  test("gives all back when another VM has gone", () => {
    const guests = [new Guest(256, 256, 0.1), new Guest(256, 256, 1)];
    new Machine(360, guests).run(60);
    assert.ok(guests[0]!.ballooned > 0);
    const alone = new Machine(360, [guests[0]!]);
    alone.run(60);
    assert.deepEqual([guests[0]!.ballooned, guests[0]!.inMiB], [0, 256]);
  });

  test("a balloon gives back no more than there is to spare, so that it does not swing", () => {
    const guests = [new Guest(256, 256, 1), new Guest(256, 256, 1)];
    const machine = new Machine(360, guests).run(60);
    const before = machine.orders.get(guests[0]!)!.balloon;
    // Now they would not use more, as it seems, and all fits.
    for (const guest of guests) guest.own -= 20 * MIB;
    const spare = machine.free - Math.ceil(1.2 * 0.06 * machine.total);
    const { target, balloon } = machine.step().get(guests[0]!)!;
    assert.ok(before > 80 * MIB && spare > 30 * MIB && spare < before);
    assert.deepEqual([target, balloon], [256 * MIB, before - spare]);
  });

  test("memory that a guest doesn't use is not kept for it", () => {
    const [small, greedy] = [new Guest(256, 30, 0.1, 1000), new Guest(256, 256, 1, 1)];
    new Machine(300, [small, greedy]).run(90);
    close(small.inMiB, 30);
    close(greedy.inMiB, 300 * (1 - 1.2 * 0.06) - 30, 8);
  });

  test("pages a guest without a driver, after some patience", () => {
    const [deaf, busy] = [new Guest(256, 256, 0.1), new Guest(256, 256, 1)];
    deaf.hasDriver = false;
    const machine = new Machine(360, [deaf, busy]).run(120);
    assert.ok(deaf.pagedOut > 0 && deaf.ballooned === 0);
    assert.equal(busy.pagedOut, 0);
    close(deaf.inMiB, Math.round(machine.orders.get(deaf)!.target / MIB), 8);
  });

  const full = (free: number): Machine => {
    const guests = [new Guest(100, 100, 0.1), new Guest(100, 100, 1), new Guest(100, 20, 1)];
    guests.forEach((guest) => (guest.own = guest.wants));
    return new Machine(220 / (1 - free), guests);
  };

  test("inflates balloons first, then pages, then blocks those above their targets", () => {
    const states = [0.05, 0.035, 0.015, 0.005].map((free) => {
      const machine = full(free);
      const orders = [...machine.step().values()];
      return [machine.manager.state, orders.map(({ balloon }) => balloon > 0), orders.map(({ limit }) => limit < 100 * MIB), orders.map(({ blocked }) => blocked)];
    });
    const [nobody, idle] = [[false, false, false], [true, false, false]];
    assert.deepEqual(states, [
      ["high", nobody, nobody, nobody],
      ["soft", idle, nobody, nobody],
      ["hard", idle, idle, nobody],
      ["low", idle, idle, idle],
    ]);
  });

  test("the operator's balloon is the least, and what it leaves the most", () => {
    const guest = new Guest(256, 256, 1);
    guest.allowed = 50 * MIB;
    const machine = new Machine(1024, [guest]).run(20);
    assert.deepEqual([targetsOf(machine), guest.ballooned / MIB, guest.inMiB], [[50], 206, 50]);
    guest.allowed = guest.max;
    machine.run(20);
    assert.deepEqual([guest.ballooned, guest.inMiB], [0, 256]);
  });

  test("beyond two thirds of a guest the balloon does not go: the rest is paged", () => {
    const [idle, busy] = [new Guest(256, 256, 0, 1), new Guest(256, 256, 1, 10_000)];
    const machine = new Machine(300, [idle, busy]).run(120);
    assert.equal(Math.round(idle.ballooned / 256 / MIB * 100), 65);
    assert.ok(machine.orders.get(idle)!.target < 0.35 * idle.max);
    assert.ok(idle.pagedOut > 0);
    close(idle.inMiB, Math.round(machine.orders.get(idle)!.target / MIB), 8);
  });

  test("what is shared is no one's to give: the balloon takes from the rest", () => {
    const [guest, other] = [new Guest(100, 0, 0), new Guest(100, 0, 1)];
    Object.assign(guest, { shared: 60 * MIB, own: 40 * MIB });
    other.own = 100 * MIB;
    const order = new Machine(140 / 0.965, [guest, other]).step().get(guest)!;
    assert.ok(order.target < 40 * MIB);
    assert.equal(order.balloon, 40 * MIB - order.target);
    assert.ok(order.limit >= 60 * MIB + order.target);
  });

  test("what was paged out, and is not used, is no reason to restrain others", () => {
    const [cold, growing] = [new Guest(256, 0, 0.1), new Guest(256, 256, 1)];
    Object.assign(cold, { own: 40 * MIB, pagedOut: 200 * MIB });
    growing.own = 150 * MIB;
    const machine = new Machine(340, [cold, growing]);
    assert.deepEqual([...machine.step().values()].map(({ target, balloon, limit }) => [target, balloon, limit]), [[256 * MIB, 0, 256 * MIB], [256 * MIB, 0, 256 * MIB]]);
    // But it is, if it is missed.
    cold.active = 0.9;
    assert.ok(machine.step().get(growing)!.target < 256 * MIB);
  });

  test("what is guaranteed is left", () => {
    const [idle, busy] = [new Guest(256, 256, 0), new Guest(256, 256, 1)];
    idle.min = 200 * MIB;
    new Machine(360, [idle, busy]).run(60);
    assert.ok(idle.inMiB >= 200);
  });
});

suite("settings of the memory manager", () => {
  test("change some, and keep the rest", () => {
    const manager = new MemoryManager();
    const before = manager.settings;
    manager.change({ idleTax: 0.5, high: undefined });
    assert.deepEqual(manager.settings, { ...before, idleTax: 0.5 });
    assert.throws(() => manager.change({ soft: 0.07 }), { code: "memory-policy", message: "the threshold soft would be 7%, and that of high 6%: they must fall, from high to low" });
    assert.equal(manager.settings.soft, 0.04);
    manager.change({ high: 0.1, soft: 0.07 });
    assert.equal(manager.settings.soft, 0.07);
  });
});
