import { HostelryError } from "#base/errors.ts";
import { StateReader, type SavedState } from "#base/saved-state.ts";
import { ConsoleControl } from "./console-control.ts";
import { ConsolePort, type ConsoleBackend } from "./console-port.ts";
import type { VirtioDevice, VirtioHost } from "./device.ts";

/*
 * The console device: virtio 1.2, section 5.3. Port 0 is a console. If programs of guest and host are to talk to each other too, there
 * is a port 1, which has a name, and there are queues to agree on ports. Section 5.3.2:
 *
 *     queues 0, 1   port 0: receive, transmit
 *     queues 2, 3   control: receive, transmit      ┐ with MULTIPORT
 *     queues 4, 5   port 1: receive, transmit       ┘
 */
const Feature = { size: 0, multiport: 1, emergencyWrite: 2 } as const;
const CONSOLE = { receive: 0, transmit: 1 };
const CONTROL = { receive: 2, transmit: 3 };
const NAMED = { receive: 4, transmit: 5 };
const QUEUE_SIZE = 64;

/** struct virtio_console_config: cols u16 │ rows u16 │ max_nr_ports u32 │ emerg_wr u32. */
const Config = { columns: 0, rows: 2, maxPorts: 4, emergencyWrite: 8, size: 12 } as const;

/** The host's side of the port that has a name. */
export interface NamedPort extends ConsoleBackend {
  readonly name: string;
  /** A program in the guest has opened the port, or closed it. While it is closed, input for it is dropped. */
  opened(open: boolean): void;
}

export interface ConsoleOptions {
  readonly columns?: number;
  readonly rows?: number;
  readonly port?: NamedPort;
}

export class VirtioConsole implements VirtioDevice {
  readonly deviceId = 3;
  readonly features: readonly number[];
  readonly queueSizes: readonly number[];
  readonly config = new Uint8Array(Config.size);
  readonly #backend: ConsoleBackend;
  readonly #console: ConsolePort;
  readonly #named: { readonly port: ConsolePort; readonly backend: NamedPort; readonly control: ConsoleControl } | undefined;
  /** What to do when the driver has notified a queue. */
  readonly #notified: readonly (() => void)[];
  #host!: VirtioHost;
  /** Whether a program in the guest has opened port 1. */
  #open = false;

  constructor(backend: ConsoleBackend, { columns = 80, rows = 24, port }: ConsoleOptions = {}) {
    this.#backend = backend;
    const console = new ConsolePort(backend, CONSOLE);
    this.#console = console;
    this.#setSize(columns, rows);
    const notified = [() => console.fillBuffers(), () => console.transmit()];
    if (port === undefined) {
      this.features = [Feature.size, Feature.emergencyWrite];
    } else {
      this.features = Object.values(Feature);
      this.#view.setUint32(Config.maxPorts, 2, true);
      const named = new ConsolePort(port, NAMED);
      const control = new ConsoleControl([{}, { name: port.name }], CONTROL, {
        size: () => ({ columns: this.#view.getUint16(Config.columns, true), rows: this.#view.getUint16(Config.rows, true) }),
        opened: (index, open) => void (index === 1 && this.#setOpen(open)),
      });
      this.#named = { port: named, backend: port, control };
      notified.push(() => control.send(), () => control.take(), () => named.fillBuffers(), () => named.transmit());
    }
    this.queueSizes = notified.map(() => QUEUE_SIZE);
    this.#notified = notified;
  }

  /** Bytes for the console. Returns how many were taken; after fewer than all, `ready` says when there is room. */
  receive(bytes: Uint8Array): number {
    return this.#console.receive(bytes);
  }

  /** The same for port 1. */
  receiveNamed(bytes: Uint8Array): number {
    return this.#open ? this.#named!.port.receive(bytes) : bytes.length;
  }

  /** The console's back end, which had answered `write` with false, can take more. */
  resume(): void {
    this.#console.resume();
  }

  /** The terminal has a new size. */
  resize(columns: number, rows: number): void {
    this.#setSize(columns, rows);
    this.#host.configChanged();
    if (this.#multiport) this.#named?.control.resized();
  }

  attach(host: VirtioHost): void {
    this.#host = host;
    this.#console.attach(host);
    this.#named?.port.attach(host);
    this.#named?.control.attach(host);
  }

  notified(queue: number): void {
    if (queue <= CONSOLE.transmit || this.#multiport) this.#notified[queue]!();
  }

  /** Section 5.3.5: a byte without any queue, from a kernel that is starting or dying. */
  writeConfig(offset: number, _size: number, value: number): void {
    if (offset === Config.emergencyWrite) this.#backend.write(Uint8Array.of(value & 0xff));
  }

  reset(): void {
    this.#setOpen(false);
    this.#named?.control.reset();
  }

  resumed(): void {
    this.#notified.forEach((_, queue) => this.notified(queue));
  }

  save(): SavedState {
    const named = this.#named;
    const port = named === undefined ? null : { open: this.#open, bytes: named.port.save(), due: named.control.save() };
    return { kind: "virtio-console", version: 2, console: this.#console.save(), port };
  }

  /** The size stays that of the terminal that is here now. */
  restore(state: unknown): void {
    const from = StateReader.open(state, "virtio-console", 2);
    const named = this.#named;
    if ((from.raw("port") === null) !== (named === undefined)) {
      throw new HostelryError("bad-snapshot", `The snapshot can't be restored: its console had ${named === undefined ? "a port" : "no port"} for programs. Give the machine the same devices.`);
    }
    if (named !== undefined) {
      const port = from.object("port");
      const [open, due] = [port.flag("open"), port.uints("due", 4, { atMost: 16 })];
      named.port.restore(port.raw("bytes"));
      this.#setOpen(open);
      named.control.restore(due);
    }
    this.#console.restore(from.raw("console"));
  }

  get #multiport(): boolean {
    return this.#named !== undefined && this.#host.negotiated(Feature.multiport);
  }

  get #view(): DataView {
    return new DataView(this.config.buffer);
  }

  #setOpen(open: boolean): void {
    if (open === this.#open) return;
    this.#open = open;
    if (!open) this.#named!.port.clear();
    this.#named!.backend.opened(open);
  }

  #setSize(columns: number, rows: number): void {
    this.#view.setUint16(Config.columns, columns, true);
    this.#view.setUint16(Config.rows, rows, true);
  }
}
