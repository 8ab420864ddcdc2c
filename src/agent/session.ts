/** The host's side of a guest's agent, over whatever carries its bytes: who makes it passes them in and out. */
import { HostelryError } from "#base/errors.ts";
import { Exec } from "./exec.ts";
import { encode, FrameReader, MAX_PAYLOAD, ProtocolError, VERSION, type AgentMessage, type Command } from "./protocol.ts";

export interface ExecOptions {
  /** Added to the agent's environment: PATH, HOME and such. */
  readonly env?: Readonly<Record<string, string>>;
  /** `/root` if absent. */
  readonly cwd?: string;
  /** How long to wait for the agent to be there: a guest may still be booting. 30 s if absent. */
  readonly patienceMs?: number;
}

const PATIENCE_MS = 30_000;
const NONCE_SIZE = 8;

/**
 * - `absent`: no program in the guest has the port open.
 * - `greeting`: one has, and was asked who it is.
 * - `ready`: it is the agent, and speaks our version.
 * - `unusable`: it is not to be spoken to until it opens the port anew.
 * - `ended`: there is no guest any more.
 */
type State =
  | { readonly kind: "absent" }
  | { readonly kind: "greeting" | "ready"; readonly reader: FrameReader }
  | { readonly kind: "unusable" | "ended"; readonly error: HostelryError };

export class AgentSession {
  readonly #send: (bytes: Uint8Array) => void;
  readonly #execs = new Map<number, Exec>();
  readonly #waiting = new Set<() => void>();
  #state: State = { kind: "absent" };
  #nextExec = 1;

  /** `send` gets what is for the port. It is never more than the windows of the commands that run. */
  constructor(send: (bytes: Uint8Array) => void) {
    this.#send = send;
  }

  /**
   * Starts a command. Resolves when it runs. Throws HostelryError: `no-agent`, `agent-version`, `agent-lost`; `bad-command` for what
   * can be no command, `no-command`, `not-executable`, `no-directory`, `exec-failed` for what the guest refuses.
   */
  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<Exec> {
    const command: Command = { argv, env: Object.entries(options.env ?? {}), cwd: options.cwd ?? "" };
    refuseNonsense(command);
    // It may have gone again while we were told that it is there.
    for (const until = Date.now() + (options.patienceMs ?? PATIENCE_MS); this.#state.kind !== "ready"; ) await this.#ready(Math.max(until - Date.now(), 0));
    const number = this.#freeNumber();
    const start = encode.start(number, command);
    if (start.length > MAX_PAYLOAD) throw new HostelryError("bad-command", `the command and its environment take ${start.length} bytes, and ${MAX_PAYLOAD} may be: pass it less, or through its stdin`);
    const exec = new Exec(number, command, this.#send);
    this.#execs.set(number, exec);
    this.#send(start);
    await exec.started;
    return exec;
  }

  /** A program in the guest has opened the port, or closed it. */
  opened(open: boolean): void {
    if (this.#state.kind === "ended") return;
    this.#lose(new HostelryError("agent-lost", "the guest's agent has ended, and the command with it: it, or the guest, was started anew"));
    if (!open) return this.#become({ kind: "absent" });
    const nonce = crypto.getRandomValues(new Uint8Array(NONCE_SIZE));
    this.#become({ kind: "greeting", reader: new FrameReader(nonce) });
    this.#send(encode.hello(nonce));
  }

  /** Bytes from the port, which are ours from now on. */
  received(bytes: Uint8Array): void {
    if (this.#state.kind !== "greeting" && this.#state.kind !== "ready") return;
    const { reader } = this.#state;
    try {
      for (const message of reader.read(bytes)) this.#heard(message);
      if (this.#state.kind === "greeting" && reader.version !== undefined) this.#greeted(reader, reader.version);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#giveUp(new HostelryError("agent-lost", `the guest's agent has sent what can't be (${error.message}): start the guest anew`));
    }
  }

  /** There is no guest any more. */
  close(): void {
    const error = new HostelryError("agent-lost", "the guest has ended, and the command with it");
    this.#lose(error);
    this.#become({ kind: "ended", error });
  }

  #greeted(reader: FrameReader, version: number): void {
    if (version === VERSION) return this.#become({ kind: "ready", reader });
    this.#giveUp(new HostelryError("agent-version", `the guest's agent speaks version ${version} of its protocol, and we speak ${VERSION}: build its image again`));
  }

  #heard(message: AgentMessage): void {
    const exec = this.#execs.get(message.exec);
    // One that has ended may have been sent something that crossed its end.
    if (exec === undefined) return;
    if (exec.heard(message)) this.#execs.delete(message.exec);
  }

  #giveUp(error: HostelryError): void {
    this.#lose(error);
    this.#become({ kind: "unusable", error });
  }

  #lose(error: HostelryError): void {
    for (const exec of this.#execs.values()) exec.fail(error);
    this.#execs.clear();
  }

  #become(state: State): void {
    this.#state = state;
    for (const look of this.#waiting) look();
  }

  #ready(patienceMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (act: () => void): void => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        act();
      };
      const look = (): void => {
        const state = this.#state;
        if (state.kind === "ready") settle(resolve);
        else if (state.kind === "unusable" || state.kind === "ended") settle(() => reject(state.error));
      };
      const timer = setTimeout(() => settle(() => reject(this.#noAgent(patienceMs))), patienceMs);
      this.#waiting.add(look);
      look();
    });
  }

  #noAgent(patienceMs: number): HostelryError {
    const found = this.#state.kind === "greeting" ? "what has its port open does not answer as an agent" : "none has opened its port";
    return new HostelryError("no-agent", `the guest has no agent after ${patienceMs / 1000} s (${found}): does it boot the default image, and is it up?`);
  }

  #freeNumber(): number {
    while (this.#execs.has(this.#nextExec)) this.#advance();
    const number = this.#nextExec;
    this.#advance();
    return number;
  }

  #advance(): void {
    this.#nextExec = (this.#nextExec + 1) >>> 0;
  }
}

function refuseNonsense({ argv, env, cwd }: Command): void {
  const bad = (what: string): HostelryError => new HostelryError("bad-command", `${what}: no guest can be given that`);
  if (argv.length === 0 || argv[0] === "") throw bad("a command without a name");
  if ([...argv, ...env.flat(), cwd].some((text) => text.includes("\0"))) throw bad("a command or environment with a zero byte in it");
  for (const [name] of env) if (name === "" || name.includes("=")) throw bad(`a variable named ${JSON.stringify(name)}`);
}
