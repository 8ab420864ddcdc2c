import { cells64 } from "#base/device-tree.ts";
import { HostelryError } from "#base/errors.ts";
import { StateReader, type Saveable, type SavedState } from "#base/saved-state.ts";
import type { AccessSize, DeviceTreeNode, DevicePlace, DmaMemory, InterruptLine, MmioDevice } from "#machine/bus.ts";
import { TransportFeature, type VirtioDevice, type VirtioHost } from "./device.ts";
import { VirtQueue } from "./queue.ts";

/* Registers of a virtio device on MMIO: virtio 1.2, section 4.2.2. All are 32 bits wide; the device's own space is not. */
const Register = {
  magic: 0x000, version: 0x004, deviceId: 0x008, vendorId: 0x00c,
  deviceFeatures: 0x010, deviceFeaturesSelect: 0x014, driverFeatures: 0x020, driverFeaturesSelect: 0x024,
  queueSelect: 0x030, queueSizeMax: 0x034, queueSize: 0x038, queueReady: 0x044, queueNotify: 0x050,
  interruptStatus: 0x060, interruptAcknowledge: 0x064, status: 0x070,
  queueDescriptors: 0x080, queueDriver: 0x090, queueDevice: 0x0a0,
  sharedMemoryLength: 0x0b0, sharedMemoryBase: 0x0b8, configGeneration: 0x0fc,
} as const;
const CONFIG = 0x100;

const MAGIC = 0x7472_6976; // "virt"
const VERSION = 2;
/** "QEMU": drivers for its board, xv6's for one, ask for that. */
const VENDOR = 0x554d_4551;

/** Section 2.1. */
const Status = { acknowledge: 1, driver: 2, driverOk: 4, featuresOk: 8, needsReset: 0x40, failed: 0x80 } as const;
const Interrupt = { usedBuffer: 1, configChange: 2 } as const;

/** Where the low words of a queue's three addresses go among `VirtQueue.addresses`; the high ones follow. */
const ADDRESS_WORDS: Readonly<Record<number, number>> = {
  [Register.queueDescriptors]: 0, [Register.queueDescriptors + 4]: 1,
  [Register.queueDriver]: 2, [Register.queueDriver + 4]: 3,
  [Register.queueDevice]: 4, [Register.queueDevice + 4]: 5,
};

/** One of the platform's slots, with a device in it or empty. */
export class VirtioMmio implements MmioDevice, Saveable, VirtioHost {
  readonly name = "virtio_mmio";
  readonly size = 0x1000;
  readonly memory: DmaMemory;
  readonly queues: readonly VirtQueue[];
  readonly #line: InterruptLine;
  readonly #device: VirtioDevice | undefined;
  readonly #onError: (error: HostelryError) => void;
  /** The feature bits that are offered, 32 a word. */
  readonly #offered: Uint32Array;
  readonly #accepted = new Uint32Array(2);
  #offeredSelect = 0;
  #acceptedSelect = 0;
  #queueSelect = 0;
  #status = 0;
  #interruptStatus = 0;
  #configGeneration = 0;

  /** `onError` hears why a device came to need a reset. */
  constructor(memory: DmaMemory, line: InterruptLine, device?: VirtioDevice, onError: (error: HostelryError) => void = () => {}) {
    this.memory = memory;
    this.#line = line;
    this.#device = device;
    this.#onError = onError;
    this.#offered = featureWords([...Object.values(TransportFeature), ...(device?.features ?? [])]);
    this.queues = (device?.queueSizes ?? []).map((size) => new VirtQueue(memory, size, () => this.#raise(Interrupt.usedBuffer)));
    device?.attach(this);
  }

  negotiated(feature: number): boolean {
    return ((this.#accepted[feature >> 5]! >>> (feature & 31)) & 1) === 1;
  }

  run(action: () => void): void {
    if (this.#live) this.#guard(action);
  }

  configChanged(): void {
    this.#configGeneration = (this.#configGeneration + 1) >>> 0;
    if (this.#live) this.#raise(Interrupt.configChange);
  }

  read(offset: number, size: AccessSize): number {
    if (offset >= CONFIG) return this.#readConfig(offset - CONFIG, size);
    if (size !== 4) return 0;
    switch (offset) {
      case Register.magic: return MAGIC;
      case Register.version: return VERSION;
      case Register.vendorId: return VENDOR;
      default: return this.#device === undefined ? 0 : this.#readRegister(this.#device, offset);
    }
  }

  write(offset: number, size: AccessSize, value: number): void {
    const device = this.#device;
    if (device === undefined) return;
    if (offset >= CONFIG) return this.#guard(() => device.writeConfig?.(offset - CONFIG, size, value));
    if (size === 4) this.#guard(() => this.#writeRegister(device, offset, value));
  }

  deviceTreeNode(place: DevicePlace): DeviceTreeNode {
    return {
      name: `virtio_mmio@${place.address.toString(16)}`,
      properties: {
        compatible: "virtio,mmio",
        reg: [...cells64(place.address), ...cells64(this.size)],
        interrupts: [place.interrupt ?? 0],
        "interrupt-parent": [place.interruptParent ?? 0],
      },
    };
  }

  reset(): void {
    for (const queue of this.queues) queue.reset();
    this.#device?.reset();
    this.#accepted.fill(0);
    this.#offeredSelect = this.#acceptedSelect = this.#queueSelect = 0;
    this.#status = 0;
    this.#interruptStatus = 0;
    this.#update();
  }

  save(): SavedState {
    return {
      kind: "virtio-mmio",
      version: 1,
      deviceId: this.#device?.deviceId ?? 0,
      accepted: [...this.#accepted],
      offeredSelect: this.#offeredSelect,
      acceptedSelect: this.#acceptedSelect,
      queueSelect: this.#queueSelect,
      status: this.#status,
      interruptStatus: this.#interruptStatus,
      configGeneration: this.#configGeneration,
      queues: this.queues.map((queue) => queue.save()),
      device: this.#device?.save() ?? null,
    };
  }

  restore(state: unknown): void {
    const from = StateReader.open(state, "virtio-mmio", 1);
    const deviceId = from.uint("deviceId", 32);
    if (deviceId !== (this.#device?.deviceId ?? 0)) {
      throw new HostelryError("bad-snapshot", `The snapshot can't be restored: a slot held virtio device ${deviceId} and now holds ${this.#device?.deviceId ?? 0}. Give the machine the same devices.`);
    }
    const accepted = from.uints("accepted", 32, 2);
    const [offeredSelect, acceptedSelect, queueSelect] = [from.uint("offeredSelect", 32), from.uint("acceptedSelect", 32), from.uint("queueSelect", 32)];
    const [status, interruptStatus, configGeneration] = [from.uint("status", 8), from.uint("interruptStatus", 2), from.uint("configGeneration", 32)];
    const states = from.objects("queues", this.queues.length).map((reader, index) => this.queues[index]!.readState(reader));
    this.#device?.restore(from.raw("device"));

    this.#accepted.set(accepted);
    this.#offeredSelect = offeredSelect;
    this.#acceptedSelect = acceptedSelect;
    this.#queueSelect = queueSelect;
    this.#status = status;
    this.#interruptStatus = interruptStatus;
    this.#configGeneration = configGeneration;
    this.#tellQueuesFeatures();
    this.#guard(() => states.forEach((queueState, index) => this.queues[index]!.assign(queueState)));
    this.#update();
    this.run(() => this.#device?.resumed?.());
  }

  /** The driver is ready and has not broken anything. */
  get #live(): boolean {
    const wanted = Status.driverOk | Status.featuresOk;
    return (this.#status & (wanted | Status.needsReset)) === wanted;
  }

  /** Section 2.1.2: when a driver breaks a queue, the device says that it needs a reset, and does nothing until it gets one. */
  #guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      if (!(error instanceof HostelryError)) throw error;
      const wasLive = this.#live;
      this.#status |= Status.needsReset;
      if (wasLive) this.#raise(Interrupt.configChange);
      this.#onError(error);
    } finally {
      for (const queue of this.queues) queue.release();
    }
  }

  #readRegister(device: VirtioDevice, offset: number): number {
    switch (offset) {
      case Register.deviceId: return device.deviceId;
      case Register.deviceFeatures: return this.#offered[this.#offeredSelect] ?? 0;
      case Register.queueSizeMax: return this.#queue?.maxSize ?? 0;
      case Register.queueReady: return Number(this.#queue?.ready ?? false);
      case Register.interruptStatus: return this.#interruptStatus;
      case Register.status: return this.#status;
      case Register.configGeneration: return this.#configGeneration;
      // There are no shared memory regions: length and base of any are all ones.
      case Register.sharedMemoryLength: case Register.sharedMemoryLength + 4:
      case Register.sharedMemoryBase: case Register.sharedMemoryBase + 4:
        return 0xffff_ffff;
      default: return 0;
    }
  }

  #writeRegister(device: VirtioDevice, offset: number, value: number): void {
    switch (offset) {
      case Register.deviceFeaturesSelect: this.#offeredSelect = value; break;
      case Register.driverFeaturesSelect: this.#acceptedSelect = value; break;
      case Register.driverFeatures: this.#acceptFeatures(value); break;
      case Register.queueSelect: this.#queueSelect = value; break;
      case Register.queueSize: this.#changeQueue((queue) => (queue.size = value)); break;
      case Register.queueReady: this.#setQueueReady(value); break;
      case Register.queueNotify:
        if (this.#live && this.queues[value]?.ready) device.notified(value);
        break;
      case Register.interruptAcknowledge:
        this.#interruptStatus &= ~value;
        this.#update();
        break;
      case Register.status: this.#writeStatus(device, value & 0xff); break;
      default: {
        const word = ADDRESS_WORDS[offset];
        if (word !== undefined) this.#changeQueue((queue) => (queue.addresses[word] = value));
      }
    }
  }

  get #queue(): VirtQueue | undefined {
    return this.queues[this.#queueSelect];
  }

  /** While a queue is ready, the driver may not change it. */
  #changeQueue(change: (queue: VirtQueue) => void): void {
    const queue = this.#queue;
    if (queue !== undefined && !queue.ready) change(queue);
  }

  #setQueueReady(value: number): void {
    if ((value & 1) === 0) this.#queue?.disable();
    else this.#changeQueue((queue) => queue.enable());
  }

  /** Features are settled once FEATURES_OK is set. */
  #acceptFeatures(value: number): void {
    if (this.#acceptedSelect < 2 && (this.#status & Status.featuresOk) === 0) this.#accepted[this.#acceptedSelect] = value;
  }

  #writeStatus(device: VirtioDevice, value: number): void {
    if (value === 0) return this.reset();
    const before = this.#status;
    const wasLive = this.#live;
    this.#status = value | (before & Status.needsReset);
    if (value & ~before & Status.featuresOk) {
      if (this.#featuresFit()) this.#tellQueuesFeatures();
      else this.#status &= ~Status.featuresOk;
    }
    if (!wasLive && this.#live) device.started?.();
  }

  /**
   * Section 2.2.2: nothing that was not offered. A driver that leaves out VERSION_1, as xv6's does, is served as if it had accepted it
   * (section 6.1 leaves that to us): these registers are version 1's anyway.
   */
  #featuresFit(): boolean {
    return this.#accepted.every((word, index) => (word & ~this.#offered[index]!) === 0);
  }

  #tellQueuesFeatures(): void {
    for (const queue of this.queues) {
      queue.indirectDescriptors = this.negotiated(TransportFeature.indirectDescriptors);
      queue.eventIndex = this.negotiated(TransportFeature.eventIndex);
    }
  }

  #readConfig(offset: number, size: AccessSize): number {
    let value = 0;
    for (let byte = 0; byte < size; byte++) value += (this.#device?.config[offset + byte] ?? 0) * 2 ** (8 * byte);
    return value;
  }

  #raise(interrupt: number): void {
    this.#interruptStatus |= interrupt;
    this.#update();
  }

  #update(): void {
    this.#line.set(this.#interruptStatus !== 0);
  }
}

function featureWords(bits: readonly number[]): Uint32Array {
  const words = new Uint32Array(2);
  for (const bit of bits) words[bit >> 5]! |= 1 << (bit & 31);
  return words;
}
