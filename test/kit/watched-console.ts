/** A VM's console as a test or a benchmark follows it: what has come, and until when something does. */
import type { Vm } from "#host/node/harts.ts";

export class WatchedConsole {
  readonly vm: Vm;
  /** What has come so far, or since it was last emptied. */
  text = "";
  #waiter: (() => void) | undefined;

  constructor(vm: Vm) {
    this.vm = vm;
    void this.#collect();
  }

  /** Throws if `pattern` doesn't come within so many milliseconds. */
  async until(pattern: RegExp, timeout: number): Promise<RegExpExecArray> {
    const deadline = performance.now() + timeout;
    for (;;) {
      const match = pattern.exec(this.text);
      if (match !== null) return match;
      if (performance.now() > deadline) throw new Error(`no ${pattern} within ${timeout / 1000} s: ${JSON.stringify(this.text.slice(-500))}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 1000);
        this.#waiter = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  type(text: string): void {
    void this.vm.write(Buffer.from(text));
  }

  async #collect(): Promise<void> {
    let ended = false;
    const end = this.vm.result.then(() => void (ended = true), () => void (ended = true));
    while (!ended) {
      await Promise.race([this.vm.output.waitForBytes(), end]);
      this.text += Buffer.from(this.vm.output.shift()).toString("latin1");
      this.#waiter?.();
    }
  }
}
