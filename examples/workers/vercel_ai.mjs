// Vercel's AI SDK: its providers take a fetch.
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, streamText } from "ai";
import * as watermaster from "watermaster";

const fetch = watermaster.fetch({
  address: process.env.WATERMASTER ?? "localhost:8081",
  organization: "acme",
  project: "search",
});
const openai = createOpenAI({ fetch, baseURL: process.env.OPENAI_BASE_URL });

const plain = await generateText({ model: openai.chat("gpt-5"), prompt: "Name a river.", maxOutputTokens: 60, maxRetries: 0 });
console.log("plain:", plain.text);

const streamed = streamText({ model: openai("gpt-5"), prompt: "Name a lake.", maxOutputTokens: 60, maxRetries: 0 });
let text = "";
for await (const piece of streamed.textStream) text += piece;
console.log("streamed:", text);

// What only some calls need is said around them.
const urgent = await watermaster.withOptions({ priorityClass: "interactive", maxWait: 5 }, () =>
  generateText({ model: openai.chat("gpt-5"), prompt: "Name a strait.", maxOutputTokens: 60, maxRetries: 0 }),
);
console.log("urgent:", urgent.text);
await fetch.close();
