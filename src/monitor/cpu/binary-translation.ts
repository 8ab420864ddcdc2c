/**
 * Binary translation (Adams & Agesen 2006): before code of the guest's kernel runs, its privileged instructions are replaced by what they come to
 * for a guest. Most become work on the guest's registers, in place: they stand in the hart's parked fields, and an access to sstatus becomes one to
 * vsstatus. Some become a call to the monitor: a write to satp, a fence of one address space. Code that has nothing to replace, and all code of the
 * guest's programs, runs as it is.
 *
 * The machine translates guest code anyway, block by block as it is first executed, and knows when it is written to. So the rewriting is a policy
 * that the hart's decoder and translator follow (`rewriting` in csr-bits.ts, `substitutes` in hart/system-instructions.ts, and the tables of CSRs), and
 * its translations are cached, chained and dropped as all others; those of rewritten code are kept apart from others of the same code.
 */
import type { VirtualMachine } from "../vm.ts";
import { Deprivileged } from "./deprivileged.ts";
import type { Technique } from "./technique.ts";

export class BinaryTranslation extends Deprivileged {
  constructor(vm: VirtualMachine, technique: Technique) {
    super(vm, { technique, rewrites: technique.rewrite });
  }
}
