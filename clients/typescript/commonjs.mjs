// Run by `npm run build` behind tsc: says that dist/cjs is CommonJS, and keeps its import() as it is, for which Node has no need of
// require, and by whose catch bundlers know that a package may be missing.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";

const folder = new URL("dist/cjs/", import.meta.url);
writeFileSync(new URL("package.json", folder), '{"type": "commonjs"}\n');
for (const name of readdirSync(folder).filter((n) => n.endsWith(".js"))) {
  const file = new URL(name, folder), text = readFileSync(file, "utf8");
  const kept = text.replace(/Promise\.resolve\(\)\.then\(\(\) => __importStar\(require\(("[^"]+")\)\)\)/g, "import($1)");
  if (kept !== text) writeFileSync(file, kept);
}
