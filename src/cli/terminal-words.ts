/** What the default image's session script wants to know of our terminal (src/images/rootfs/etc/hostelry/session): words for the kernel's command line. */
export function terminalWords(): string[] {
  const { columns, rows } = process.stdout;
  const size = process.stdout.isTTY && columns > 0 && rows > 0 ? [`hostelry.rows=${rows}`, `hostelry.cols=${columns}`] : [];
  const term = process.env["TERM"];
  return [...size, ...(term !== undefined && /^[\w.+-]+$/.test(term) ? [`hostelry.term=${term}`] : [])];
}
