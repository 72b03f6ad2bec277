/**
 * Shares the rate limits of LLM providers with everybody else who asks the same Watermaster.
 *
 *     import OpenAI from "openai";
 *     import * as watermaster from "watermaster";
 *
 *     const client = new OpenAI({ fetch: watermaster.fetch({ address: "localhost:8081", organization: "acme", project: "search" }) });
 */
export { CallError, Rejected, Unavailable, WatermasterError, type Binding } from "./error.js";
export { fetch, type Fetch } from "./fetch.js";
export { Lease, type Target } from "./lease.js";
export { Limiter, type Want } from "./limiter.js";
export { withOptions, type Call, type Local, type Options, type Pressure } from "./options.js";
export type { Tokenizer } from "./tokenizer.js";
