/**
 * Makes a failing list shorter: leaves out parts, from halves down to single elements, as long as it still fails. `failure` gives the
 * message, or undefined if all is well; it must give the same answer for the same list.
 */
export function shrink<T>(list: readonly T[], failure: (list: readonly T[]) => string | undefined, tries = 400): { readonly list: readonly T[]; readonly message: string } {
  let message = failure(list);
  if (message === undefined) throw new Error("what is to be shrunk doesn't fail");
  let current = list;
  for (let size = Math.ceil(current.length / 2); size >= 1 && tries > 0; ) {
    let shorter = false;
    for (let at = 0; at < current.length && tries > 0; ) {
      const candidate = [...current.slice(0, at), ...current.slice(at + size)];
      const found = candidate.length < current.length ? failure(candidate) : undefined;
      tries--;
      if (found === undefined) at += size;
      else {
        current = candidate;
        message = found;
        shorter = true;
      }
    }
    if (size === 1 && !shorter) break;
    size = size === 1 ? 1 : Math.ceil(size / 2);
  }
  return { list: current, message };
}
