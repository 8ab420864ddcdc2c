/** What a process and all that it started cost its host, read from /proc (Linux; proc(5)). */
import { readFileSync, readdirSync } from "node:fs";

/** proc(5) counts CPU time in ticks of sysconf(_SC_CLK_TCK), which is 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

export interface MemoryUse {
  /** Bytes resident now, and the most there ever were: of all processes together, so all threads and workers. */
  readonly current: number;
  readonly peak: number;
}

/** Seconds of CPU time, user and system, of the process, its threads and its children, also those that have ended. */
export function cpuSeconds(pid: number): number {
  return processTree(pid).reduce((sum, member) => sum + ownCpuSeconds(member), 0);
}

export function memoryUse(pid: number): MemoryUse {
  const each = processTree(pid).map((member) => read(`/proc/${member}/status`));
  const total = (field: string): number => each.reduce((sum, status) => sum + kilobytes(status, field), 0) * 1024;
  return { current: total("VmRSS"), peak: total("VmHWM") };
}

function ownCpuSeconds(pid: number): number {
  // The name, in parentheses, may hold spaces: fields are counted from behind it, where the first is number 3 (state).
  const stat = read(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [user, system, childrenUser, childrenSystem] = [14, 15, 16, 17].map((number) => Number(fields[number - 3] ?? 0));
  return (user + system + childrenUser + childrenSystem) / TICKS_PER_SECOND;
}

function processTree(pid: number): number[] {
  return [pid, ...children(pid).flatMap(processTree)];
}

function children(pid: number): number[] {
  const threads = list(`/proc/${pid}/task`);
  return threads.flatMap((thread) => read(`/proc/${pid}/task/${thread}/children`).split(" ").filter(Boolean).map(Number));
}

function kilobytes(status: string, field: string): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? 0);
}

/** A process may end while it is looked at: then it counts nothing. */
function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
