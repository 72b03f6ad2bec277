import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from "node:http";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** The watermaster of $WATERMASTER, else of this repository, which is built if it is missing. */
function binary(): string {
  const named = process.env["WATERMASTER"];
  if (named) return named;
  const built = join(root, ".bin/watermaster");
  if (!existsSync(built)) {
    const go = spawnSync("go", ["build", "-o", built, "./server/cmd/watermaster"], { cwd: root, stdio: "inherit" });
    if (go.status !== 0) throw new Error("go build of the watermaster failed");
  }
  return built;
}

/** A process of ours; it is told to end when the tests do. */
export class Process {
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#ended = new Promise((resolve) => child.once("exit", () => resolve()));
  }

  /** Starts watermaster and waits for a line that matches; gives the match. */
  static async start(args: string[], line: RegExp): Promise<[Process, RegExpExecArray]> {
    const child = spawn(binary(), args, { stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    const match = await new Promise<RegExpExecArray>((resolve, reject) => {
      const look = (data: Buffer) => {
        said += data;
        const found = line.exec(said);
        if (found) resolve(found);
      };
      child.stdout.on("data", look);
      child.stderr.on("data", look);
      child.once("exit", (code) => reject(new Error(`watermaster ${args.join(" ")} ended with ${code}: ${said}`)));
    });
    return [new Process(child), match];
  }

  /** Kills it, as a machine that fails does, and waits for its end. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#ended;
  }
}

/** A strict provider. */
export class Provider {
  private constructor(readonly process: Process, readonly url: string) {}

  static async start(...flags: string[]): Promise<Provider> {
    const [process, [, url]] = await Process.start(["provider", "--listen", "127.0.0.1:0", "--latency", "0s", "--rate", "0", ...flags], /serves at (http:\S+)/);
    return new Provider(process, url!);
  }

  async report(): Promise<{ calls: number; refused: number; in_flight: number; statuses: Record<string, number> }> {
    return (await globalThis.fetch(`${this.url}/report`)).json() as never;
  }

  async reset(): Promise<void> {
    await globalThis.fetch(`${this.url}/reset`, { method: "POST" });
  }

  close(): Promise<void> {
    return this.process.kill();
  }
}

interface Limit {
  metric: string;
  held: string;
  by_class: { waiting: string }[];
}

/** The service with a configuration. */
export class Service {
  private constructor(readonly process: Process, readonly address: string, readonly http: string) {}

  /** `address`: where; by default any port. */
  static async start(config: string, address = "127.0.0.1:0", ...flags: string[]): Promise<Service> {
    const directory = mkdtempSync(join(tmpdir(), "watermaster-"));
    const file = join(directory, "config.yaml");
    writeFileSync(file, config);
    try {
      const [process, [, grpc, http]] = await Process.start(
        ["serve", "--config", file, "--grpc", address, "--http", "127.0.0.1:0", ...flags], /msg=serving .*grpc=(\S+) http=(\S+)/,
      );
      return new Service(process, grpc!, http!);
    } finally {
      rmSync(directory, { recursive: true });
    }
  }

  async limits(): Promise<Limit[]> {
    const response = await globalThis.fetch(`http://${this.http}/v1/headroom`);
    return ((await response.json()) as { headroom: { limits: Limit[] } }).headroom.limits;
  }

  /** How many calls hold a place among the calls in flight. */
  async held(): Promise<number> {
    return (await this.limits()).filter((l) => l.metric === "concurrency").reduce((sum, l) => sum + Number(l.held), 0);
  }

  /** How many calls wait for any limit. */
  async waiting(): Promise<number> {
    return Math.max(...(await this.limits()).flatMap((l) => l.by_class.map((c) => Number(c.waiting))));
  }

  close(): Promise<void> {
    return this.process.kill();
  }
}

/** Lets this process's clock go so many times as fast until the test ends; timers stay as they are. */
export function hasten(t: TestContext, times: number): void {
  const real = performance.now.bind(performance), from = real();
  t.mock.method(performance, "now", () => from + (real() - from) * times);
}

/** Asks until it is so. */
export async function until(what: () => boolean | Promise<boolean>, message: string, ms = 5000): Promise<void> {
  const end = Date.now() + ms;
  while (!(await what())) {
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${message}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Passes TCP on, and keeps what passed to the other side. */
export class Tap {
  bytes = "";
  readonly #sockets = new Set<Socket>();
  private constructor(readonly address: string, readonly close: () => void) {}

  static async start(to: string): Promise<Tap> {
    const [host, port] = to.replace(/^http:\/\//, "").split(":");
    let tap: Tap;
    const server = createServer((from) => {
      const on = connect(Number(port), host);
      for (const s of [from, on]) {
        tap.#sockets.add(s);
        s.on("error", () => {}).on("close", () => { from.destroy(); on.destroy(); });
      }
      from.on("data", (data) => { tap.bytes += data.toString("latin1"); });
      from.pipe(on);
      on.pipe(from);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    tap = new Tap(`127.0.0.1:${(server.address() as AddressInfo).port}`, () => {
      server.close();
      for (const s of tap.#sockets) s.destroy();
    });
    return tap;
  }
}

/** An HTTP server that answers as a test says. */
export async function answering(answer: (request: IncomingMessage, response: ServerResponse, body: string) => void): Promise<{ url: string; close(): void }> {
  const server = createHttp((request, response) => {
    let body = "";
    request.on("data", (d) => { body += d; });
    request.on("end", () => answer(request, response, body));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
