import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

export interface CommandResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly environment?: Readonly<Record<string, string>>;
  readonly directory?: string;
  /** Gets the lines that the command writes to file descriptor 3. */
  readonly onStatusLine?: (line: string) => void;
}

/** Runs a program to its end, with plain (untranslated) messages. Rejects only if it cannot be started. */
export async function runCommand(program: string, args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: options.directory,
      env: { ...process.env, ...options.environment, LC_ALL: "C" },
      stdio: ["ignore", "pipe", "pipe", options.onStatusLine === undefined ? "ignore" : "pipe"],
    });
    const output = { stdout: "", stderr: "" };
    child.stdout!.setEncoding("utf8").on("data", (text: string) => void (output.stdout += text));
    child.stderr!.setEncoding("utf8").on("data", (text: string) => void (output.stderr += text));
    const status = child.stdio[3];
    if (status !== null && status !== undefined && "setEncoding" in status) {
      let partial = "";
      status.setEncoding("utf8").on("data", (text: string) => {
        const lines = (partial + text).split("\n");
        partial = lines.pop()!;
        for (const line of lines) options.onStatusLine?.(line);
      });
    }
    child.on("error", reject);
    child.on("close", (code) => resolve({ status: code ?? 128, ...output }));
  });
}

/** Where a program lies on the PATH, or null. */
export function findProgram(name: string, path = process.env["PATH"] ?? ""): string | null {
  const isExecutable = (candidate: string): boolean => {
    try {
      accessSync(candidate, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  };
  return path.split(delimiter).filter(Boolean).map((directory) => join(directory, name)).find(isExecutable) ?? null;
}
