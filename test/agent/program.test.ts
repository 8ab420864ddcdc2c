import { testBuild } from "../kit/guest-program.ts";

testBuild("guest/agent", "src/images/rootfs/usr/lib/hostelry/agent");
