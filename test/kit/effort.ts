/**
 * How much the randomized tests do, and from which seed:
 *
 *   HOSTELRY_TEST_EFFORT   multiplies the number of cases (default 1, which takes seconds)
 *   HOSTELRY_TEST_SEED     default 1; printed with every suite
 */
export const effort = Number(process.env["HOSTELRY_TEST_EFFORT"] ?? 1);
export const seed = Number(process.env["HOSTELRY_TEST_SEED"] ?? 1);

export function cases(count: number): number {
  return Math.max(1, Math.round(count * effort));
}
