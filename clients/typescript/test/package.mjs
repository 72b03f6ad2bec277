// Installs what `npm pack` makes into an empty folder, as a user does, and uses it from there by import, by require and from
// TypeScript. Run by `npm run test:package`; not one of the quick tests, since it asks the registry for the dependencies.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL("..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "watermaster-package-"));
const run = (command, ...args) => execFileSync(command, args, { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });

// What both kinds of modules do; it has to say "Unavailable true chat", and the process has to end by itself.
const program = `
  const limiter = new Limiter("127.0.0.1:9", { maxWait: 0, tokenizer: "auto" });
  limiter.acquire({ model: "gpt-5" }).catch((error) => {
    console.log(error.name, error instanceof Unavailable, withOptions({ project: "chat" }, () => limiter.call({}).project));
  });
`;

const typed = `
  import { fetch, Limiter, Rejected, withOptions, type Lease, type Options, type Pressure } from "watermaster";
  const options: Options = { address: ["localhost:8081"], whenAway: { requests: 1, tokens: 2 }, onPressure: (p: Pressure) => void p.level };
  const limiter = new Limiter("localhost:8081", { project: "search" });
  export const limited: typeof globalThis.fetch = fetch(options);
  export async function one(signal: AbortSignal): Promise<number> {
    await using lease: Lease = await limiter.acquire({ model: "gpt-5", inputTokens: 1, signal });
    lease.used({ inputTokens: 1 });
    const answer: number = await limiter.acquire({ route: "smart" }, async (l) => l.waited);
    // @ts-expect-error: an option that there is not
    new Limiter({ adress: "localhost:8081" });
    return withOptions({ maxWait: 1 }, () => answer);
  }
  export const why = (error: unknown): string => (error instanceof Rejected ? error.reason : "");
`;

try {
  const [{ filename, files }] = JSON.parse(execFileSync("npm", ["pack", "--json", "--silent", "--pack-destination", folder], { cwd: here, encoding: "utf8" }));
  assert.ok(files.every(({ path }) => /^(?:dist\/|README\.md$|CHANGELOG\.md$|LICENSE$|package\.json$)/.test(path)), "nothing else is packed");
  writeFileSync(join(folder, "package.json"), '{"private": true}');
  run("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefer-offline", filename);

  writeFileSync(join(folder, "a.mjs"), `import { Limiter, Unavailable, withOptions } from "watermaster";${program}`);
  writeFileSync(join(folder, "a.cjs"), `const { Limiter, Unavailable, withOptions } = require("watermaster");${program}`);
  for (const file of ["a.mjs", "a.cjs"]) assert.equal(run("node", file), "Unavailable true chat\n", file);

  writeFileSync(join(folder, "both.mjs"), `
    import { createRequire } from "node:module";
    import * as esm from "watermaster";
    import { withOptions } from "watermaster";
    const { CallError, Limiter, Rejected, WatermasterError } = createRequire(import.meta.url)("watermaster");
    console.log(withOptions({ project: "chat" }, () => new Limiter().call({}).project));
    const error = new Rejected("GATED", undefined, [], "no"), limiter = new Limiter();
    class Mine extends esm.Rejected {}
    console.log(error instanceof esm.Rejected, error instanceof esm.WatermasterError, !(error instanceof esm.CallError), !(error instanceof Mine),
      new Mine("GATED", undefined, [], "no") instanceof Mine, new esm.CallError(5, "no") instanceof WatermasterError, !(new esm.CallError(5, "no") instanceof Rejected),
      !(null instanceof esm.Limiter), esm.fetch(limiter).limiter === limiter);
  `);
  assert.equal(run("node", "both.mjs"), "chat\n" + Array(9).fill("true").join(" ") + "\n", "the context and the classes are one, however the package was loaded");

  // gpt-tokenizer is not there, and need not be. gRPC asks for require, which a bundle that is a module does not have.
  const esbuild = join(here, "node_modules/esbuild/bin/esbuild");
  for (const [file, format, ...more] of [["a.mjs", "esm", "--external:@grpc/grpc-js"], ["a.cjs", "cjs"], ["a.cjs", "cjs", "--minify-syntax"]]) {
    run(esbuild, file, "--bundle", "--platform=node", `--format=${format}`, `--outfile=bundle-${file}`, "--log-level=error", ...more);
    assert.equal(run("node", `bundle-${file}`), "Unavailable true chat\n", `${file} as a bundle`);
  }

  for (const name of ["a.mts", "a.cts", "b.ts"]) writeFileSync(join(folder, name), typed);
  const tsc = join(here, "node_modules/typescript/bin/tsc");
  const strict = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--target", "es2022", "--types", "node"];
  run("node", tsc, ...strict, "--module", "nodenext", "a.mts", "a.cts");
  run("node", tsc, ...strict, "--module", "esnext", "--moduleResolution", "bundler", "b.ts");
  console.log(`${filename}: ${files.length} files, by import, require, bundled and from TypeScript`);
} finally {
  rmSync(folder, { recursive: true });
}
