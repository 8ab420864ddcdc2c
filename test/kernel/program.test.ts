import { testBuild } from "../kit/guest-program.ts";

testBuild("guest/kernel", "guest/kernel/kernel.elf");
