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

/** Bytes that a terminal without echo and signals still acts on: each goes behind a ^V. */
const ACTED_ON: ReadonlySet<number> = new Set([END_OF_INPUT, LITERAL_NEXT]);

/**
 * A pipe that has ended stays ended, but each ^D on a terminal ends one reader's input only: the last program's, then the
 * shell's. This many are sent, for as many readers; those left over go down with the machine.
 */
const READERS = 256;

/** `bytes` of a pipe so that the guest's terminal passes them on as they are. */
export function quoteInput(bytes: Uint8Array): Uint8Array {
  const quoted: number[] = [];
  for (const byte of bytes) {
    if (ACTED_ON.has(byte)) quoted.push(LITERAL_NEXT);
    quoted.push(byte);
  }
  return Uint8Array.from(quoted);
}

/** What ends the input. Behind a part of a line, the first ^D only hands that part over. */
export function endOfInput(): Uint8Array {
  return new Uint8Array(READERS).fill(END_OF_INPUT);
}
