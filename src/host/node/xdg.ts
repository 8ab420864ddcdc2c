import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";

/** Where things of the user live, by the XDG Base Directory Specification. */
export interface Directories {
  /** What can be fetched or computed again. */
  readonly cache: string;
  /** What the user made: images. */
  readonly data: string;
  /** What is to outlast a run, but is nobody's work: logs. */
  readonly state: string;
}

/** The specification says to ignore values that are not absolute. */
export function hostelryDirectories(environment: Readonly<Record<string, string | undefined>> = process.env): Directories {
  const base = (variable: string, ...standard: string[]): string => {
    const value = environment[variable];
    return join(value !== undefined && isAbsolute(value) ? value : join(homedir(), ...standard), "hostelry");
  };
  return { cache: base("XDG_CACHE_HOME", ".cache"), data: base("XDG_DATA_HOME", ".local", "share"), state: base("XDG_STATE_HOME", ".local", "state") };
}
