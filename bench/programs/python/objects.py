"""Classes, method calls and closures: an event queue that drives small simulated machines, and n queens by generators."""
import sys


class Machine:
    def __init__(self, name, period):
        self.name, self.period, self.done = name, period, 0

    def step(self, now, queue):
        self.done += 1
        queue.push(now + self.period, self)


class Faulty(Machine):
    def step(self, now, queue):
        super().step(now, queue)
        if self.done % 7 == 0:
            self.period = self.period % 11 + 1


class Queue:
    """A binary heap of (time, order, machine)."""

    def __init__(self):
        self.heap, self.order = [], 0

    def push(self, time, machine):
        heap, at = self.heap, len(self.heap)
        self.order += 1
        heap.append((time, self.order, machine))
        while at and heap[at][:2] < heap[(at - 1) >> 1][:2]:
            up = (at - 1) >> 1
            heap[at], heap[up] = heap[up], heap[at]
            at = up

    def pop(self):
        heap = self.heap
        first, last = heap[0], heap.pop()
        if heap:
            heap[0], at = last, 0
            while (child := 2 * at + 1) < len(heap):
                if child + 1 < len(heap) and heap[child + 1][:2] < heap[child][:2]:
                    child += 1
                if heap[at][:2] < heap[child][:2]:
                    break
                heap[at], heap[child] = heap[child], heap[at]
                at = child
        return first


def simulate(events):
    queue = Queue()
    machines = [(Faulty if i % 3 else Machine)(str(i), i % 5 + 2) for i in range(20)]
    for machine in machines:
        queue.push(0, machine)
    for _ in range(events):
        now, _, machine = queue.pop()
        machine.step(now, queue)
    return sum(machine.done * (i + 1) for i, machine in enumerate(machines))


def queens(n, row=0, columns=0, left=0, right=0):
    if row == n:
        yield 1
        return
    for column in range(n):
        bit = 1 << column
        if not (columns & bit or left & bit or right & bit):
            yield from queens(n, row + 1, columns | bit, (left | bit) << 1, (right | bit) >> 1)


def main():
    iterations = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    checksum = 0
    for n in range(iterations):
        checksum = checksum * 31 + simulate(2000 + n)
        assert sum(queens(6)) == 4
    print(f"objects.py iterations={iterations} checksum={checksum % 2**64:016x}")


main()
