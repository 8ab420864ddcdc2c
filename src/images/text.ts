/** Text in headers of archives, where bytes above 0x7f are UTF-8 if anything. Copies, because TextDecoder refuses shared memory. */
export function decodeText(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes.slice());
}

/** The text before the first NUL, or all of it. */
export function decodeCString(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return decodeText(end < 0 ? bytes : bytes.subarray(0, end));
}

export function encodeText(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
