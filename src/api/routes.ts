/** Actions as requests of HTTP: one table, read in both directions and by the OpenAPI file. */
import { HostelryError } from "#base/errors.ts";
import type { Action, ActionKind, ActionOf, StreamKind } from "#monitor/action.ts";
import { fields } from "./schemas.ts";
import { validate } from "./validate.ts";

export interface Route {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  /** `{name}` stands for a field. */
  readonly path: string;
  /** Fields that stand in the query, and how text becomes them; what is left is in the body. */
  readonly query?: Readonly<Record<string, QueryField>>;
  readonly summary: string;
}

type QueryField = "number" | "flag" | "text" | "list";

export const routes: Readonly<Record<ActionKind, Route>> = {
  machine: { method: "GET", path: "/v1/machine", summary: "What the machine has, and what is left" },
  create: { method: "POST", path: "/v1/vms", summary: "Create a VM" },
  list: { method: "GET", path: "/v1/vms", summary: "All VMs, by name" },
  show: { method: "GET", path: "/v1/vms/{name}", summary: "One VM" },
  start: { method: "POST", path: "/v1/vms/{name}/start", summary: "Boot a VM: one that was created, or one that has ended, anew" },
  stop: { method: "POST", path: "/v1/vms/{name}/stop", summary: "Switch a VM off at once" },
  pause: { method: "POST", path: "/v1/vms/{name}/pause", summary: "Let a VM stand still, and its clock" },
  resume: { method: "POST", path: "/v1/vms/{name}/resume", summary: "Let a paused VM go on" },
  set: { method: "PATCH", path: "/v1/vms/{name}", summary: "Change what can be changed while it runs" },
  balloon: { method: "POST", path: "/v1/vms/{name}/balloon", summary: "Have a VM's guest give up memory, or use it again" },
  memory: { method: "GET", path: "/v1/memory", query: { map: "flag" }, summary: "How the machine's memory is used" },
  policy: { method: "GET", path: "/v1/memory/policy", summary: "How the machine's memory is managed" },
  setPolicy: { method: "PATCH", path: "/v1/memory/policy", summary: "Change how the machine's memory is managed" },
  remove: { method: "DELETE", path: "/v1/vms/{name}", query: { force: "flag" }, summary: "Forget a VM, and its log" },
  stats: { method: "GET", path: "/v1/vms/{name}/stats", summary: "Instructions, time and exits of a VM since it was started last" },
  trace: { method: "GET", path: "/v1/vms/{name}/trace", query: { since: "number" }, summary: "The last exits of a VM" },
  console: { method: "GET", path: "/v1/vms/{name}/console", summary: "The console of a VM, as a WebSocket" },
  exec: { method: "GET", path: "/v1/vms/{name}/exec", query: { command: "list", env: "list", cwd: "text" }, summary: "A command in a VM, as a WebSocket" },
};

/** What describes all of them. */
export const openApiPath = "/v1/openapi.json";

export const actionKinds = Object.keys(routes) as readonly ActionKind[];
const streamKinds: readonly ActionKind[] = ["console", "exec"] satisfies StreamKind[];
export const isStream = (action: Action): action is ActionOf<StreamKind> => streamKinds.includes(action.kind);

export interface WireRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  /** To become JSON; undefined for none. */
  readonly body: Readonly<Record<string, unknown>> | undefined;
}

export function toRequest({ kind, ...rest }: Action): WireRequest {
  const { method, path, query = {} } = routes[kind];
  const left = new Map<string, unknown>(Object.entries(rest).filter(([, value]) => value !== undefined));
  const take = (field: string): unknown => {
    const value = left.get(field);
    left.delete(field);
    return value;
  };
  const place = path.replace(/\{(\w+)\}/g, (_, field: string) => encodeURIComponent(String(take(field))));
  const search = new URLSearchParams(Object.keys(query).flatMap((field) => [take(field) ?? []].flat().map((value) => [field, String(value)])));
  const body = left.size > 0 || method === "POST" || method === "PATCH" ? Object.fromEntries(left) : undefined;
  return { method, path: search.size === 0 ? place : `${place}?${search.toString()}`, body };
}

/** Throws HostelryError `no-route`, `bad-method`, `bad-request`. */
export function fromRequest(method: string, url: string, body: unknown): Action {
  if (!url.startsWith("/")) throw new HostelryError("no-route", `${url} is no path: see ${openApiPath}`);
  // Not parsed against a base: the path // would be a host's name.
  const { pathname, searchParams } = new URL(`http://hostelry${url}`);
  const found = actionKinds.flatMap((kind) => {
    const match = patterns[kind].exec(pathname);
    return match === null ? [] : [{ kind, groups: match.groups ?? {} }];
  });
  if (found.length === 0) throw new HostelryError("no-route", `there is nothing at ${pathname}: see ${openApiPath}`);
  const match = found.find(({ kind }) => routes[kind].method === method);
  if (match === undefined) throw new HostelryError("bad-method", `${pathname} takes ${found.map(({ kind }) => routes[kind].method).join(", ")}, not ${method}`);
  const { kind, groups } = match;
  const given: unknown = body === undefined ? {} : body;
  if (typeof given !== "object" || given === null || Array.isArray(given)) throw new HostelryError("bad-request", "the body is no JSON object");
  const inPath = Object.fromEntries(Object.entries(groups).map(([field, text]) => [field, decoded(text)]));
  return { kind, ...validate<object>(fields[kind], { ...given, ...fromQuery(searchParams, routes[kind].query ?? {}), ...inPath }) } as Action;
}

const patterns = Object.fromEntries(
  actionKinds.map((kind) => [kind, new RegExp(`^${routes[kind].path.replaceAll("{", "(?<").replaceAll("}", ">[^/]+)")}$`)]),
) as Readonly<Record<ActionKind, RegExp>>;

function fromQuery(search: URLSearchParams, query: Readonly<Record<string, QueryField>>): Record<string, unknown> {
  const parse: Readonly<Record<QueryField, (texts: string[]) => unknown>> = {
    number: ([text]) => (/^\d+$/.test(text!) ? Number(text) : text),
    flag: ([text]) => (text === "true" ? true : text === "false" ? false : text),
    text: ([text]) => text,
    list: (texts) => texts,
  };
  return Object.fromEntries([...new Set(search.keys())].map((field) => [field, parse[query[field] ?? "list"](search.getAll(field))]));
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
