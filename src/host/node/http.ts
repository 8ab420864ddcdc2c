import { HostelryError } from "#base/errors.ts";
import { open } from "node:fs/promises";
import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { sizeOf } from "./cache.ts";

/** A server that says nothing for this long is given up. */
const STALL_MS = 30_000;
const TRIES = 3;
const BACKOFF_MS = 250;

/** Lets this process reach the net through the proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY name, as other programs do. */
export function honourProxyVariables(): void {
  // Not in every Node 24.
  http.setGlobalProxyFromEnv?.();
}

export interface DownloadOptions {
  /** More than this is refused, whatever the server says: bytes. */
  readonly maxBytes: number;
  readonly onBytes?: (bytes: number) => void;
}

/**
 * Downloads `url` to `path`, going on behind what is already there: the caller names files by their content and verifies
 * it afterwards. Tries again when the connection breaks. Throws HostelryError `no-network`, `not-found`, `download-broken`.
 */
export async function download(url: string, path: string, options: DownloadOptions): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await downloadOnce(url, path, options);
    } catch (error) {
      if (error instanceof HostelryError) throw error;
      if (attempt === TRIES) throw networkError(url, error);
      await sleep(BACKOFF_MS * attempt);
    }
  }
}

async function downloadOnce(url: string, path: string, options: DownloadOptions): Promise<void> {
  const have = (await sizeOf(path)) ?? 0;
  if (have === options.maxBytes) return;
  const stall = new AbortController();
  const response = await withStall(stall, fetch(url, { signal: stall.signal, headers: have > 0 ? { range: `bytes=${have}-` } : {} }));
  // A server may ignore the range (200), or find that there is nothing behind (416): then begin anew.
  const resumed = response.status === 206;
  if (response.status === 416) {
    await response.body?.cancel();
    await (await open(path, "w")).close();
    throw new Error("the part already downloaded does not fit");
  }
  if (!response.ok) {
    await response.body?.cancel();
    throw statusError(url, response.status);
  }
  const file = await open(path, resumed ? "a" : "w");
  try {
    let bytes = resumed ? have : 0;
    const reader = response.body!.getReader();
    for (;;) {
      options.onBytes?.(bytes);
      const { done, value } = await withStall(stall, reader.read());
      if (done) break;
      bytes += value.length;
      if (bytes > options.maxBytes) {
        await reader.cancel();
        throw new HostelryError("download-broken", `${url} is longer than the ${options.maxBytes} bytes that it should have: try again, or another mirror`);
      }
      await file.writeFile(value);
    }
    const expected = Number(response.headers.get("content-length") ?? NaN);
    const received = bytes - (resumed ? have : 0);
    if (!response.headers.has("content-encoding") && received < expected) throw new Error("the connection closed early");
  } finally {
    await file.close();
  }
}

/** A small file, whole, in memory. Throws as `download` does. */
export async function fetchBytes(url: string, maxBytes: number): Promise<Uint8Array> {
  for (let attempt = 1; ; attempt++) {
    try {
      const stall = new AbortController();
      const response = await withStall(stall, fetch(url, { signal: stall.signal }));
      if (!response.ok) {
        await response.body?.cancel();
        throw statusError(url, response.status);
      }
      const bytes = new Uint8Array(await withStall(stall, response.arrayBuffer()));
      if (bytes.length > maxBytes) throw new HostelryError("download-broken", `${url} is longer than the ${maxBytes} bytes that it may have`);
      return bytes;
    } catch (error) {
      if (error instanceof HostelryError) throw error;
      if (attempt === TRIES) throw networkError(url, error);
      await sleep(BACKOFF_MS * attempt);
    }
  }
}

async function withStall<T>(stall: AbortController, work: Promise<T>): Promise<T> {
  const timer = setTimeout(() => stall.abort(new Error(`no answer for ${STALL_MS / 1000} seconds`)), STALL_MS);
  try {
    return await work;
  } finally {
    clearTimeout(timer);
  }
}

function statusError(url: string, status: number): unknown {
  if (status === 404 || status === 410) return new HostelryError("not-found", `${url} is not there (HTTP ${status}): check the mirror's address`);
  if (status >= 500 || status === 429) return new Error(`HTTP ${status}`);
  return new HostelryError("download-broken", `${url} was refused (HTTP ${status}): check the mirror's address`);
}

/** fetch() hides the reason of a failure one level down. */
function networkError(url: string, error: unknown): HostelryError {
  const cause = (error as Error).cause;
  const reason = cause instanceof Error && cause.message !== "" ? cause.message : ((cause as NodeJS.ErrnoException | undefined)?.code ?? (error as Error).message);
  return new HostelryError("no-network", `${url} cannot be reached (${reason}): check the network and the mirror's address, then try again`);
}
