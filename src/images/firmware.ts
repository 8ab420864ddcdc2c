/**
 * What OpenSBI's "dynamic" firmware finds through register a2 (OpenSBI, include/sbi/fw_dynamic.h): six 64-bit words.
 *
 *     magic "OSBI" | version 2 | next address | next mode | options | preferred boot hart
 */
export function dynamicFirmwareInfo(nextAddress: number, nextMode: "machine" | "supervisor"): Uint8Array {
  const MAGIC = 0x4942534fn;
  const words = [MAGIC, 2n, BigInt(nextAddress), nextMode === "machine" ? 3n : 1n, 0n, 0n];
  const info = new DataView(new ArrayBuffer(words.length * 8));
  words.forEach((word, index) => info.setBigUint64(index * 8, word, true));
  return new Uint8Array(info.buffer);
}
