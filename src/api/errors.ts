/** Errors on the wire: a status of HTTP, and `{ "error": { "code", "message" } }`. */
import { HostelryError } from "#base/errors.ts";
import * as v from "valibot";

/** Of the codes that the API has itself. */
const statuses: Readonly<Record<string, number>> = {
  "bad-request": 400,
  "bad-json": 400,
  "no-route": 404,
  "no-vm": 404,
  "bad-method": 405,
  "name-taken": 409,
  "wrong-state": 409,
  "not-enough-memory": 409,
  "no-agent": 409,
  "too-large": 413,
  internal: 500,
};
/** What the files, images and numbers that a request names can't be. */
const OTHER = 422;

export interface ErrorBody {
  readonly error: { readonly code: string; readonly message: string };
}

export const errorBody: v.GenericSchema<unknown, ErrorBody> = v.object({
  error: v.object({
    code: v.pipe(v.string(), v.description("What is wrong, for programs: stable")),
    message: v.pipe(v.string(), v.description("What is wrong and what to do, in a line")),
  }),
});

/** A bug of ours tells the outside nothing but that it is one. */
export function toWire(error: unknown): { readonly status: number; readonly body: ErrorBody } {
  const { code, message } = error instanceof HostelryError ? error : { code: "internal", message: "a bug in Hostelry: the server's stderr says where" };
  return { status: statuses[code] ?? OTHER, body: { error: { code, message } } };
}

export function fromWire(status: number, body: unknown): HostelryError {
  const parsed = v.safeParse(errorBody, body);
  if (!parsed.success) return new HostelryError("bad-answer", `the server answered with status ${status} and no reason: is it a Hostelry of this version?`);
  const { code, message } = parsed.output.error;
  return new HostelryError(code, message);
}
