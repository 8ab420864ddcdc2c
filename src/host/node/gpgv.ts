import { HostelryError } from "#base/errors.ts";
import { existsSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { findProgram, runCommand } from "./command.ts";

/** Debian's keys, as its package debian-archive-keyring installs them; newer releases call the file `.pgp`. */
const KEYRINGS = ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

export function debianKeyring(): string | null {
  return KEYRINGS.find((path) => existsSync(path)) ?? null;
}

/** True if a signature can be verified here at all. */
export function canVerify(): boolean {
  return findProgram("gpgv") !== null && debianKeyring() !== null;
}

/**
 * The signed text of `file`, verified by `signature` or, if that is null, by the signature inside. Only what gpgv itself
 * hands out is signed: a clear-signed file may have other text around it. Call only if `canVerify()`. Throws HostelryError
 * `bad-signature`; `what` names the file.
 */
export async function verifiedText(file: string, signature: string | null, what: string): Promise<string> {
  const output = `${file}.${process.pid}.signed`;
  const args = signature === null ? ["--output", output, file] : [signature, file];
  try {
    const { status, stderr } = await runCommand("gpgv", ["--keyring", debianKeyring()!, ...args]);
    if (status !== 0) throw badSignature(what, stderr);
    return await readFile(signature === null ? output : file, "utf8");
  } finally {
    await rm(output, { force: true });
  }
}

function badSignature(what: string, stderr: string): HostelryError {
  const reason = stderr.split("\n").find((line) => /BAD|No public key|Can't check|no valid|no signature/i.test(line)) ?? "gpgv refuses it";
  return new HostelryError(
    "bad-signature",
    `${what} is not signed by Debian (${reason.replace(/^gpgv: /, "")}): name another mirror with --mirror, or bring debian-archive-keyring up to date`,
  );
}
