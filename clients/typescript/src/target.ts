import { withMember } from "./json.js";
import type { Metered } from "./request.js";
import { deploymentOf, endpoint, speaks, withDeployment, type Wire } from "./wire.js";

/** Where a grant says that the call goes; see the protocol's Target. */
export interface Destination {
  account: string;
  provider: string;
  model: string;
  attributes: Readonly<Record<string, string>>;
}

/** What the caller may send to. */
export interface Reach {
  /** The account that the SDK's own key belongs to; "": not said. */
  account: string;
  /** Keys of other accounts, by account. */
  keys: Readonly<Record<string, string>>;
}

/** A request as it leaves. */
export interface Outgoing {
  url: string;
  headers: Headers;
  text: string;
}

const bases: Record<string, string> = {
  openai: "https://api.openai.com/v1",
  groq: "https://api.groq.com/openai/v1",
  mistral: "https://api.mistral.ai/v1",
  deepseek: "https://api.deepseek.com",
  together: "https://api.together.xyz/v1",
  fireworks: "https://api.fireworks.ai/inference/v1",
  openrouter: "https://openrouter.ai/api/v1",
  anthropic: "https://api.anthropic.com",
};

/**
 * The request as it goes to a target: address, key and model, and nothing else of it. undefined: the caller may not follow,
 * since it has no key for the account, knows no address, or the provider does not speak the wire. `route`: a route was asked
 * for, so that the model is the target's. The headers given are changed.
 */
export function follow(request: Metered, url: URL, headers: Headers, target: Destination, reach: Reach, route: boolean): Outgoing | undefined {
  const { wire, body } = request;
  const key = Object.hasOwn(reach.keys, target.account) ? reach.keys[target.account] : undefined;
  const address = target.attributes["base_url"] || undefined;
  const own = reach.account !== "" ? reach.account === target.account : address === undefined || host(address) === url.host;
  const foreign = key !== undefined && !(reach.account !== "" && own);
  if (key === undefined && !own) return undefined;
  if (!speaks(target.provider, wire) && (foreign || reach.account === "")) return undefined;

  let { text } = request;
  const setModel = (model: string) => {
    if (body["model"] !== undefined && body["model"] !== model) text = withMember(text, "model", model);
  };
  const readdress = address !== undefined || foreign;
  if (route || foreign) setModel(target.model);
  // They are of the key that is not used.
  if (foreign) for (const name of ["openai-organization", "openai-project"]) headers.delete(name);
  if (!readdress) {
    if (key !== undefined) setKey(headers, target.provider, key);
    const named = target.attributes["deployment"];
    if (!named || deploymentOf(url.pathname) === undefined) return { url: url.href, headers, text };
    const moved = new URL(url);
    moved.pathname = withDeployment(url.pathname, named);
    return { url: moved.href, headers, text };
  }

  const base = address ?? bases[target.provider];
  if (base === undefined) return undefined;
  let to: URL;
  try {
    to = new URL(base);
  } catch {
    return undefined;
  }
  const path = to.pathname.replace(/\/+$/, "");
  const query = new URLSearchParams(url.search);
  query.delete("api-version");
  if (target.provider === "azure") {
    const root = path.replace(/\/openai(\/v1)?$/, "") + "/openai";
    const version = target.attributes["api_version"];
    const deployment = target.attributes["deployment"] || target.model;
    if (version && wire !== "responses") {
      to.pathname = `${root}/deployments/${encodeURIComponent(deployment)}/${endpoint[wire]}`;
      query.set("api-version", version);
    } else {
      to.pathname = `${root}/v1/${endpoint[wire]}`;
      if (body["model"] === undefined) text = withMember(text, "model", deployment);
      else setModel(deployment);
    }
  } else {
    to.pathname = target.provider === "anthropic" ? `${path.replace(/\/v1$/, "")}/v1/messages` : `${path}/${endpoint[wire]}`;
    // Of Azure's older form only the path names the model.
    if (body["model"] === undefined) text = withMember(text, "model", target.model);
  }
  to.search = query.toString();
  if (key !== undefined) setKey(headers, target.provider, key);
  return { url: to.href, headers, text };
}

function host(address: string): string | undefined {
  try {
    return new URL(address).host;
  } catch {
    return undefined;
  }
}

function setKey(headers: Headers, provider: string, key: string): void {
  for (const name of ["authorization", "x-api-key", "api-key"]) headers.delete(name);
  if (provider === "azure") {
    if (key.startsWith("Bearer ")) headers.set("authorization", key);
    else headers.set("api-key", key);
  } else if (provider === "anthropic") headers.set("x-api-key", key);
  else headers.set("authorization", `Bearer ${key}`);
}

/** The accounts that may be asked for; empty: any of the providers. */
export function accountsOf(reach: Reach): string[] {
  return reach.account === "" ? [] : [...new Set([reach.account, ...Object.keys(reach.keys)])];
}

export type { Wire };
