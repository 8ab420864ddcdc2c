/** Says in one line what is wrong with something from outside. */
import { HostelryError } from "#base/errors.ts";
import * as v from "valibot";

/** Throws HostelryError `bad-request`. */
export function validate<T>(schema: v.GenericSchema<unknown, T>, value: unknown): T {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  throw new HostelryError("bad-request", lineOf(result.issues[0]));
}

function lineOf(issue: v.BaseIssue<unknown>): string {
  const place = issue.path?.map(({ key }) => String(key)).join(".");
  if (place === undefined) return issue.kind === "schema" ? "this is no object of fields" : issue.message;
  if (issue.type === "strict_object") return issue.expected === "never" ? `there is no field ${place}` : `the field ${place} is missing`;
  // Our own messages begin as the second part of a sentence; the library's with a capital letter.
  const reason = /^[a-z]/.test(issue.message) ? issue.message : issue.message.replace(/^Invalid \w+: Expected (.*) but received (.*)$/s, "is $2, not $1");
  return `the field ${place} ${reason}`;
}
