import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Collects garbage and lets what waits for it run. */
export async function collected(): Promise<void> {
  collect();
  await new Promise((resolve) => setImmediate(resolve));
}
