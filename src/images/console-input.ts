/**
 * Talking to the default image's shell through a pipe. With `hostelry.pipe=1` on the kernel's command line its console stays a
 * terminal, since input can only end there by ^D, but one that echoes nothing, prompts for nothing and leaves line ends
 * alone. When it is ready it sends one ENQ ("are you there?" in ASCII), which the host drops and answers with its input.
 *
 * One limit of terminals remains: a line of input may have 4095 bytes (n_tty's canonical mode), the rest of it is lost.
 */
export const READY = 0x05;

const END_OF_INPUT = 0x04;
const LITERAL_NEXT = 0x16;
const NEWLINE = 0x0a;

/** Bytes that a terminal without echo and signals still acts on: each goes behind a ^V. */
const ACTED_ON: ReadonlySet<number> = new Set([END_OF_INPUT, LITERAL_NEXT]);

/** `bytes` of a pipe so that the guest's terminal passes them on as they are. */
export function quoteInput(bytes: Uint8Array): Uint8Array {
  const quoted: number[] = [];
  for (const byte of bytes) {
    if (ACTED_ON.has(byte)) quoted.push(LITERAL_NEXT);
    quoted.push(byte);
  }
  return Uint8Array.from(quoted);
}

/** What ends the input: behind a line, ^D; behind a part of one, ^D hands that part over, and only the second ends. */
export function endOfInput(lastByte: number | undefined): Uint8Array {
  return Uint8Array.from(lastByte === undefined || lastByte === NEWLINE ? [END_OF_INPUT] : [END_OF_INPUT, END_OF_INPUT]);
}
