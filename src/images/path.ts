import { HostelryError } from "#base/errors.ts";

/**
 * An archive's path made relative and plain: no leading slash, no empty, `.` or trailing components. `..` and NUL are
 * refused, as no honest archive has them. Throws HostelryError `unsafe-path`.
 */
export function safePath(path: string, what: string): string {
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..") || path.includes("\0")) {
    throw new HostelryError("unsafe-path", `${what} holds the path ${JSON.stringify(path)}, which leads out of it: refused`);
  }
  return parts.join("/");
}
