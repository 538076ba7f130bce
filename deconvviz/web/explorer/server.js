// Questions to the server. Each has a lane and a number: a newer one of the same lane makes the older one unnecessary.

import { byId } from "../shared/elements.js";
import { Refused, Superseded } from "../shared/refusals.js";

const TAB = Math.random().toString(36).slice(2, 10); // two tabs of a browser do not take each other's place
const MOST_AT_ONCE = 10; // questions with a frame of the camera
const ANOTHER = "Another program answers at this address, and not the explorer.";
const SLOW = 700; // milliseconds until it is said that the explorer works
let last = Date.now();
/** @type {Map<string, AbortController>} */
const running = new Map();
/** @type {Map<string, { content: Blob, name: string, live: boolean }>} */
const given = new Map();
/** @type {(() => void) | null} */
let whenBack = null;
/** What was asked about the last frame of the camera, and will be asked about the next. @type {[string, Record<string, any>][]} */
let usual = [];
/** The answers that came with a frame, by their questions. @type {Map<string, { answer?: any, error?: string }>} */
const ready = new Map();

/** @param {Record<string, any>} fields those that are given, as text */
const givenOf = (fields) => Object.fromEntries(Object.entries(fields)
  .filter(([, value]) => value !== null && value !== undefined && value !== "").map(([name, value]) => [name, String(value)]));

/** @param {string} name @param {Record<string, any>} fields */
const keyOf = (name, fields) => `${name}?${new URLSearchParams(Object.entries(givenOf(fields)).sort())}`;

/**
 * @param {string} lane
 * @param {Record<string, any>} fields
 */
function query(lane, fields) {
  const words = new URLSearchParams(givenOf(fields));
  last += 1;
  words.set("lane", `${TAB} ${lane}`);
  words.set("number", String(last));
  return words;
}

/**
 * Asks, and throws `Superseded` where a newer question was asked meanwhile.
 * @param {string} name
 * @param {Record<string, any>} fields
 * @param {string} [lane]
 * @returns {Promise<any>}
 */
export async function ask(name, fields, lane = name) {
  const { image, ...others } = givenOf(fields);
  if (image && given.get(image)?.live) usual.push([name, others]);
  const found = ready.get(keyOf(name, fields));
  if (found) {
    cancel(lane);
    if (found.error) throw new Refused(found.error);
    return found.answer;
  }
  asking(1);
  try {
    const answer = await sent(lane, `/api/${name}?${query(lane, fields)}`, fields);
    return await answer.json();
  } catch (error) {
    throw ended(error);
  } finally {
    asking(-1);
  }
}

/**
 * Asks for work that takes long; `told` hears the share that is done.
 * @param {string} name
 * @param {Record<string, any>} fields
 * @param {(share: number) => void} told
 * @param {string} [lane]
 * @returns {Promise<any>}
 */
export async function watch(name, fields, told, lane = name) {
  long.add(lane);
  const answer = await sent(lane, `/api/${name}?${query(lane, fields)}`, fields);
  if (!answer.body) throw new Refused("the server answered with nothing");
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw new TypeError("the last line is missing");
      text += value;
      const lines = text.split("\n");
      text = lines.pop() || "";
      for (const line of lines.map((one) => JSON.parse(one))) {
        if (line.superseded) throw new Superseded();
        if (line.error) throw new Refused(line.error);
        if ("result" in line) return line.result;
        told(line.share);
      }
    }
  } catch (error) {
    throw ended(error);
  }
}

/** @param {unknown} error where an answer ended, which says so as a `TypeError` if the server went away meanwhile */
function ended(error) {
  if (error instanceof SyntaxError) return new Refused(ANOTHER);
  if (error instanceof TypeError) lost();
  return isAbort(error) || error instanceof TypeError ? new Superseded() : error;
}

/** @param {unknown} error */
const isAbort = (error) => error instanceof DOMException && error.name === "AbortError";

/**
 * Nobody waits for the answer of a lane any more.
 * @param {string} lane
 */
export function cancel(lane) {
  const before = running.get(lane);
  if (before) before.abort();
  running.delete(lane);
}

/** Lanes of what takes long, which has a button of its own to cancel it. @type {Set<string>} */
const long = new Set();
let unanswered = 0; // questions
/** @type {ReturnType<typeof setTimeout> | undefined} */
let clock;

/** @param {number} more questions that wait for an answer; after a while it is said that they do */
function asking(more) {
  unanswered += more;
  if (unanswered === 0) {
    clearTimeout(clock);
    clock = undefined;
    byId("working").hidden = true;
  } else if (clock === undefined) {
    clock = setTimeout(() => { byId("working").hidden = false; }, SLOW);
  }
}

/** Nobody waits for the answers any more that are said to be waited for. */
export function cancelAll() {
  for (const lane of running.keys()) if (!long.has(lane)) cancel(lane);
  notice("Cancelled: some of what is shown is that of before. Choose again what you want to see.", false);
}

/**
 * @param {string} lane
 * @param {string} address
 * @param {Record<string, any>} fields
 */
async function sent(lane, address, fields) {
  cancel(lane);
  const control = new AbortController();
  running.set(lane, control);
  for (let attempt = 0; ; attempt += 1) {
    const answer = await fetched(address, { signal: control.signal });
    if (answer.ok) return answer;
    const { error } = await said(answer);
    if (answer.status === 409 && attempt === 0 && running.get(lane) !== control) throw new Superseded();
    if (answer.status === 409) throw new Superseded();
    if (attempt === 0 && answer.status === 422 && given.has(fields.image) && error.includes("does not have this image")) {
      const image = /** @type {{ content: Blob, name: string, live: boolean }} */ (given.get(fields.image));
      await give(image.content, image.name, image.live); // the server was started anew, or has forgotten it
      last += 1;
      address = address.replace(/number=\d+$/, `number=${last}`);
      continue;
    }
    throw new Refused(error);
  }
}

/** @param {Response} answer @returns {Promise<{ error: string }>} */
async function said(answer) {
  const text = await answer.text();
  try {
    return JSON.parse(text);
  } catch {
    return { error: (answer.headers.get("content-type") || "").startsWith("text/plain") ? text : ANOTHER };
  }
}

/**
 * @param {string} address
 * @param {RequestInit} options
 */
async function fetched(address, options) {
  try {
    return await fetch(address, options);
  } catch (error) {
    throw ended(error);
  }
}

/**
 * Gives the server an image and returns its key. With a frame of the camera, what is usually asked is asked at once.
 * @param {Blob} content
 * @param {string} name
 * @param {boolean} live
 * @returns {Promise<string>}
 */
export async function give(content, name, live) {
  const words = query(live ? "camera" : "image", { name, live: live ? "1" : "0" });
  const asked = live ? new Map(usual.map(([question, fields]) => [keyOf(question, fields), [question, fields]])) : new Map();
  if (asked.size) words.set("ask", JSON.stringify([...asked.values()].slice(0, MOST_AT_ONCE)));
  usual = [];
  const answer = await fetched(`/api/images?${words}`, { method: "POST", body: content });
  if (answer.status === 409) throw new Superseded();
  if (!answer.ok) throw new Refused((await said(answer)).error);
  const { image, answers } = await answer.json().catch((error) => { throw ended(error); });
  ready.clear();
  [...asked.values()].slice(0, answers.length).forEach(([question, fields], at) => ready.set(keyOf(question, { ...fields, image }), answers[at]));
  if (live) for (const [key] of [...given].filter(([, one]) => one.live).slice(0, -1)) given.delete(key); // the last is still shown
  given.set(image, { content, name, live });
  return image;
}

/**
 * A frame of the camera as an image that stays; any other image as it is.
 * @param {string} image
 * @returns {Promise<string>}
 */
export async function kept(image) {
  const frame = given.get(image);
  return frame && frame.live ? give(frame.content, frame.name, false) : image;
}

/**
 * Downloads a file.
 * @param {string} name
 * @param {Record<string, any>} fields
 */
export async function save(name, fields) {
  const answer = await sent("save", `/save/${name}?${query("save", fields)}`, fields);
  const file = /filename="([^"]*)"/.exec(answer.headers.get("content-disposition") || "");
  const address = URL.createObjectURL(await answer.blob());
  const link = document.createElement("a");
  link.href = address;
  link.download = file ? file[1] : name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/**
 * @param {string} text
 * @param {boolean} [wrong]
 */
export function notice(text, wrong = true) {
  const element = byId("notice");
  element.textContent = text;
  element.hidden = !text;
  element.classList.toggle("wrong", wrong);
}

/** @param {Promise<any>} part if it cannot be shown, the page says why */
export async function orSay(part) {
  try {
    await part;
  } catch (error) {
    if (!(error instanceof Superseded)) notice(error instanceof Refused ? error.message : String(error));
  }
}

/** @param {() => void} again */
export function onReconnected(again) {
  whenBack = again;
}

let waiting = false;

/** Whether the server does not answer. */
export const away = () => waiting;

/** What was said of something that was done before is over; that the server is away is not. */
export function clearNotice() {
  if (!waiting) notice("");
}

/** The server does not answer: asks again until it does. */
function lost() {
  if (waiting) return;
  waiting = true;
  notice("The explorer does not answer. This page goes on when it does.");
  const again = async () => {
    try {
      const answer = await fetch(`/api/state?${query("state", {})}`);
      waiting = false;
      if (answer.ok) {
        notice("");
        if (whenBack) whenBack();
      } else {
        notice((await said(answer)).error);
      }
    } catch {
      setTimeout(again, 1000);
    }
  };
  setTimeout(again, 500);
}
