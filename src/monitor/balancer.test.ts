import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Balancer } from "./balancer.ts";

interface Vm {
  readonly name: string;
  place: number;
  readonly demand: number;
  readonly shares: number;
}

/** Looks every 250 ms for some seconds; returns the moves. */
function simulate(vms: readonly Vm[], places: readonly number[]): string[] {
  const balancer = new Balancer<Vm, number>();
  const wanted = new Map(vms.map((vm) => [vm, 0]));
  const moves: string[] = [];
  for (let now = 250; now <= 10_000; now += 250) {
    for (const vm of vms) wanted.set(vm, wanted.get(vm)! + 250 * vm.demand);
    const move = balancer.next(vms.map((vm) => ({ item: vm, place: vm.place, shares: vm.shares, wanted: wanted.get(vm)! })), places, now);
    if (move === undefined) continue;
    moves.push(`${move.item.name} to ${move.to}`);
    move.item.place = move.to;
    wanted.set(move.item, 0);
  }
  return moves;
}

const vm = (name: string, place: number, demand: number, shares = 1): Vm => ({ name, place, demand, shares });

suite("balancing harts", () => {
  test("two busy VMs on one hart, none on the other: one moves, once", () => {
    assert.equal(simulate([vm("a", 0, 1), vm("b", 0, 1)], [0, 1]).length, 1);
  });

  test("idle VMs stay where they are", () => {
    assert.deepEqual(simulate([vm("a", 0, 0), vm("b", 0, 0.02), vm("c", 0, 1)], [0, 1]), []);
  });

  test("three busy VMs on two harts settle", () => {
    const vms = [vm("a", 0, 1), vm("b", 0, 1), vm("c", 0, 1)];
    assert.equal(simulate(vms, [0, 1]).length, 1);
  });

  test("who has more shares gets a hart for itself", () => {
    const vms = [vm("a", 0, 1, 2), vm("b", 0, 1), vm("c", 1, 1)];
    simulate(vms, [0, 1]);
    assert.equal(vms.filter(({ place }) => place === vms[0]!.place).length, 1);
  });

  test("sixteen come out eight and eight", () => {
    const vms = Array.from({ length: 16 }, (_, i) => vm(`${i}`, 0, 1));
    simulate(vms, [0, 1]);
    assert.equal(vms.filter(({ place }) => place === 0).length, 8);
  });
});
