import { HostelryError } from "#base/errors.ts";
import { gather, readableViews, scatter, slice, totalLength, writableViews } from "../dma.ts";
import type { VirtioHost } from "./device.ts";

/*
 * How device and driver agree on ports: virtio 1.2, section 5.3.6.2. A message is
 *
 *     port u32 │ event u16 │ value u16, and after it: a RESIZE's columns u16 │ rows u16, or a PORT_NAME's name
 */
const HEADER = 8;
const Event = { deviceReady: 0, portAdd: 1, portReady: 3, consolePort: 4, resize: 5, portOpen: 6, portName: 7 } as const;

/** A port as the driver is told of it. */
export interface PortDescription {
  /** How programs in the guest find it; a port without a name is a console. */
  readonly name?: string;
}

export interface ControlListener {
  /** The terminal's size, for a RESIZE. */
  size(): { readonly columns: number; readonly rows: number };
  /** A program in the guest has opened a port, or closed it. */
  opened(port: number, open: boolean): void;
}

/**
 * The control queues. What is still to be said is kept as a set of port and event, and put into words when the driver has a buffer for
 * it: so a driver that asks again and again and takes no answer fills nothing.
 */
export class ConsoleControl {
  readonly #ports: readonly PortDescription[];
  readonly #queues: { readonly receive: number; readonly transmit: number };
  readonly #listener: ControlListener;
  /** Each is port × 8 + event, in the order of saying. */
  readonly #due = new Set<number>();
  #host!: VirtioHost;

  constructor(ports: readonly PortDescription[], queues: { readonly receive: number; readonly transmit: number }, listener: ControlListener) {
    this.#ports = ports;
    this.#queues = queues;
    this.#listener = listener;
  }

  attach(host: VirtioHost): void {
    this.#host = host;
  }

  reset(): void {
    this.#due.clear();
  }

  /** The terminal of port 0 has a new size. */
  resized(): void {
    this.#say(0, Event.resize);
    this.#host.run(() => this.send());
  }

  /** The driver has buffers for messages. */
  send(): void {
    const queue = this.#host.queues[this.#queues.receive]!;
    queue.drain((chain) => {
      const [next] = this.#due;
      this.#due.delete(next!);
      const message = this.#compose(next! >> 3, next! & 7);
      const segments = slice(chain.writable, 0, message.length);
      if (totalLength(segments) < message.length) throw new HostelryError("virtio-bad-request", `A driver gave a console ${totalLength(segments)} bytes for a control message of ${message.length}.`);
      scatter(message, writableViews(this.#host.memory, segments));
      queue.push(chain, message.length);
    }, () => this.#due.size > 0);
  }

  /** The driver has sent messages. */
  take(): void {
    const queue = this.#host.queues[this.#queues.transmit]!;
    queue.drain((chain) => {
      const message = gather(readableViews(this.#host.memory, slice(chain.readable, 0, HEADER)));
      queue.push(chain, 0);
      if (message.length < HEADER) return;
      const view = new DataView(message.buffer);
      this.#heard(view.getUint32(0, true), view.getUint16(4, true), view.getUint16(6, true));
    });
    this.send();
  }

  save(): number[] {
    return [...this.#due];
  }

  restore(due: readonly number[]): void {
    this.#due.clear();
    for (const item of due) if (item >> 3 < this.#ports.length) this.#due.add(item);
  }

  #heard(port: number, event: number, value: number): void {
    if (event === Event.deviceReady && value === 1) return this.#ports.forEach((_, index) => this.#say(index, Event.portAdd));
    const description = this.#ports[port];
    if (description === undefined) return;
    if (event === Event.portOpen) return this.#listener.opened(port, value === 1);
    if (event !== Event.portReady || value !== 1) return;
    const news = description.name === undefined ? [Event.consolePort, Event.resize] : [Event.portName];
    for (const item of [...news, Event.portOpen]) this.#say(port, item);
  }

  #say(port: number, event: number): void {
    this.#due.add(port * 8 + event);
  }

  #compose(port: number, event: number): Uint8Array {
    const text = event === Event.portName ? new TextEncoder().encode(this.#ports[port]!.name) : new Uint8Array(event === Event.resize ? 4 : 0);
    const message = new Uint8Array(HEADER + text.length);
    message.set(text, HEADER);
    const view = new DataView(message.buffer);
    view.setUint32(0, port, true);
    view.setUint16(4, event, true);
    view.setUint16(6, event === Event.consolePort || event === Event.portOpen ? 1 : 0, true);
    if (event === Event.resize) {
      const { columns, rows } = this.#listener.size();
      view.setUint16(HEADER, columns, true);
      view.setUint16(HEADER + 2, rows, true);
    }
    return message;
  }
}
