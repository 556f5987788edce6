// Asking the server. What it refuses or cannot read comes back as a sentence.

import { byId } from "./dom.js";

export class Refusal extends Error {}

async function answered(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    byId("deaf").textContent = "The server of this page does not answer. Is it still running?";
    byId("deaf").hidden = false;
    throw new Refusal("the server of this page does not answer");
  }
  byId("deaf").hidden = true;
  if (answer.status === 401) location.assign("/login");
  return answer;
}

export async function ask(path) {
  const answer = await answered(path);
  if (!answer.ok) throw new Refusal(await answer.text());
  return answer.json();
}

export async function post(path, body) {
  const answer = await answered(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  if (answer.headers.get("content-type")?.startsWith("application/json")) return answer.json();
  return { done: false, message: await answer.text() };
}

// Why a picture is not there: the server says so in place of it.
export async function why(path) {
  try {
    const answer = await answered(path);
    return answer.ok ? "" : await answer.text();
  } catch (refusal) {
    return refusal.message;
  }
}
