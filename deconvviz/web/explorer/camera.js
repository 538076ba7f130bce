// The camera: the newest frame wins, one is on its way at a time, while the one before it is painted.

import { byId } from "../shared/elements.js";
import { fileOf } from "../shared/pictures.js";
import { Refused, Superseded } from "../shared/refusals.js";
import { away, give, notice } from "./server.js";

const LARGEST_SIDE = 320; // of a frame, in pixels
const SILENT = 2000; // milliseconds without a frame until that is said
const PER_PIXEL = 2; // pixels of a frame for one of the network's input
const video = document.createElement("video");
const canvas = document.createElement("canvas");
/** @type {MediaStream | null} */
let stream = null;
let starting = false;
let wanted = -1; // the turn in which it was asked for last
let frozen = false;
let turn = 0;
let largest = LARGEST_SIDE;
let latest = ""; // frame that was given
/** @type {number[]} */
let times = [];
/** @type {ReturnType<typeof setTimeout> | undefined} */
let clock;

/** @type {(image: string, live: boolean) => Promise<void>} */
let show = async () => {};

/** @param {typeof show} shown called with each frame's key, "" where another image was chosen; the next waits for it */
export function attach(shown) {
  show = shown;
  video.muted = true;
  video.playsInline = true;
  byId("camera").addEventListener("click", () => (stream ? stop(true) : start()));
  byId("freeze").addEventListener("click", freeze);
}

export const running = () => stream !== null;

/** @param {number[]} size of the network's input: what it cannot see need not be sent */
export function fit(size) {
  largest = Math.min(LARGEST_SIDE, PER_PIXEL * Math.max(...size));
}

async function start() {
  wanted = turn;
  if (starting) return; // the camera that is asked for twice would run twice
  starting = true;
  /** @type {MediaStream} */
  let opened;
  try {
    if (!navigator.mediaDevices) throw new Error("this browser gives cameras only to pages of this machine or over https");
    opened = await navigator.mediaDevices.getUserMedia({ video: { width: 640 }, audio: false });
  } catch (error) {
    notice(`There is no camera to use: ${/** @type {Error} */ (error).message}.`);
    return;
  } finally {
    starting = false;
  }
  if (wanted !== turn) { // another image was chosen meanwhile, or the page is hidden
    for (const track of opened.getTracks()) track.stop();
    return;
  }
  stream = opened;
  for (const track of stream.getTracks()) track.addEventListener("ended", ended);
  video.srcObject = stream;
  await video.play();
  frozen = false;
  marked();
  if ([document.body, byId("camera")].includes(document.activeElement)) byId("freeze").focus(); // so that the space bar freezes
  run();
}

/** The camera was taken away: the page did not end it. */
async function ended() {
  await stop(true);
  notice("The camera has stopped: it was unplugged, or taken by another program."); // after the last frame, which takes what is said away
}

/**
 * Ends the camera.
 * @param {boolean} keeps whether the last frame stays, as an image of one's own
 */
export function stop(keeps) {
  if (stream || starting || !keeps) turn += 1; // another image goes before a last frame that is still being given
  if (!stream) return;
  for (const track of stream.getTracks()) track.stop();
  stream = null;
  const kept = keeps && !frozen ? keep() : null;
  frozen = false;
  marked();
  return kept;
}

export function freeze() {
  if (!stream) return;
  frozen = !frozen;
  marked();
  if (frozen) keep();
  else run();
}

function marked() {
  byId("camera").setAttribute("aria-pressed", String(stream !== null));
  byId("camera").textContent = stream ? "Stop the camera" : "Camera";
  byId("freeze").hidden = !stream;
  byId("freeze").setAttribute("aria-pressed", String(frozen));
  byId("freeze").textContent = frozen ? "Go on" : "Freeze";
  if (!stream || frozen) byId("rate").textContent = "";
  clearTimeout(clock);
  times = [];
}

/** The newest frame in a data address. `toBlob` would wait until the browser has nothing else to do. */
function frame() {
  const factor = Math.min(1, largest / Math.max(video.videoWidth, video.videoHeight, 1));
  canvas.width = Math.max(1, Math.round(video.videoWidth * factor));
  canvas.height = Math.max(1, Math.round(video.videoHeight * factor));
  const context = canvas.getContext("2d");
  if (context) context.drawImage(video, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.9);
}

/** The last frame becomes an image like any other, which its address leads back to. */
async function keep() {
  const own = turn;
  try {
    const image = await give(fileOf(frame()), "camera.jpg", false);
    await show(own === turn ? image : "", false);
  } catch (error) {
    if (!(error instanceof Superseded)) notice(/** @type {Error} */ (error).message);
  }
}

async function run() {
  const own = ++turn;
  /** @type {Promise<string> | null} */
  let coming = null;
  latest = "";
  while (stream && !frozen && own === turn) {
    try {
      const image = await (coming || sent());
      coming = null;
      if (!stream || frozen || own !== turn) return;
      await show(image, true);
      coming = sent();
      coming.catch(() => {}); // it is said when it is waited for
      await painted();
      measured();
    } catch (error) {
      if (error instanceof Refused) {
        await stop(true);
        notice(error.message); // after the last frame, with which what was said before it goes
        return;
      }
      coming = null;
      await new Promise((resolve) => { setTimeout(resolve, error instanceof Superseded && !away() ? 50 : 500); });
    }
  }
}

const painted = () => new Promise((resolve) => { requestAnimationFrame(resolve); });

/** A frame is taken and given, when the camera has another than before; resolves to its key. */
async function sent() {
  const own = turn;
  let taken = frame();
  while (taken === latest) {
    await painted();
    if (own !== turn || frozen) throw new Superseded();
    taken = frame();
  }
  latest = taken;
  return give(fileOf(taken), "camera.jpg", true);
}

function measured() {
  times.push(performance.now());
  if (times.length > 12) times.shift();
  if (times.length > 2) {
    const rate = (1000 * (times.length - 1)) / (times[times.length - 1] - times[0]);
    byId("rate").textContent = `${rate.toFixed(rate < 10 ? 1 : 0)} frames per second`;
  }
  clearTimeout(clock);
  clock = setTimeout(() => {
    byId("rate").textContent = "waiting for the next frame";
    times = [];
  }, SILENT);
}
