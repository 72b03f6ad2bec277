/** The forms of a request in which prompts are counted. */
export type Wire = "chat" | "completions" | "responses" | "embeddings" | "messages" | "images";

const endpoints: readonly (readonly [string, Wire])[] = [
  ["/chat/completions", "chat"],
  ["/completions", "completions"],
  ["/responses", "responses"],
  ["/embeddings", "embeddings"],
  ["/messages", "messages"],
  ["/images/generations", "images"],
];

/** The wire of a POST to a path; undefined for what is not counted (files, models, batches, count_tokens, …). */
export function wireOf(path: string): Wire | undefined {
  for (const [end, wire] of endpoints) if (path.endsWith(end)) return wire;
  return undefined;
}

/** What follows a base URL such as https://api.openai.com/v1/ in the path of a wire. */
export const endpoint: Record<Wire, string> = {
  chat: "chat/completions",
  completions: "completions",
  responses: "responses",
  embeddings: "embeddings",
  messages: "messages",
  images: "images/generations",
};

const deployments = /\/openai\/deployments\/([^/]+)\//;

/** The deployment that a path of Azure's older form names. */
export function deploymentOf(path: string): string | undefined {
  const name = deployments.exec(path)?.[1];
  if (name === undefined) return undefined;
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

/** A path of Azure's older form with another deployment. */
export function withDeployment(path: string, name: string): string {
  return path.replace(deployments, () => `/openai/deployments/${encodeURIComponent(name)}/`);
}

const compatible = ["openai", "azure", "groq", "mistral", "deepseek", "together", "fireworks", "openrouter", "generic"];
const speakers: Record<Wire, readonly string[]> = {
  chat: compatible,
  completions: compatible,
  embeddings: compatible,
  responses: ["openai", "azure", "generic"],
  images: ["openai", "azure", "generic"],
  messages: ["anthropic"],
};

/** Whether a provider of the service's presets takes requests of a wire. */
export function speaks(provider: string, wire: Wire): boolean {
  return speakers[wire].includes(provider);
}

/** The providers that may answer a request: the one whose host was asked for, or with `any` all that speak the wire. */
export function providersOf(wire: Wire, host: string, any: boolean): readonly string[] {
  if (!any) {
    if (host === "api.openai.com") return ["openai"];
    if (host === "api.anthropic.com") return ["anthropic"];
    if (host.endsWith(".openai.azure.com") || host.endsWith(".cognitiveservices.azure.com")) return ["azure"];
  }
  return speakers[wire];
}
