// Questions to the notebook's kernel. One of a lane is on its way at a time; of those that wait, the newest is kept.

import { Refused, Superseded } from "../shared/refusals.js";

/**
 * What a notebook gives to a widget.
 * @typedef {object} Model
 * @property {(name: string) => any} get
 * @property {(name: string, value: any) => void} set
 * @property {() => void} save_changes
 * @property {(content: any) => void} send
 * @property {(event: string, heard: (...args: any[]) => void) => void} on
 * @property {(event: string, heard: (...args: any[]) => void) => void} off
 */

/** @typedef {{ name: string, fields: Record<string, any>, resolve: (answer: any) => void, reject: (error: Error) => void }} Asked */

const SLOW = 4000; // milliseconds until it is said that the kernel does not answer

/**
 * @param {Model} model
 * @param {(waits: boolean) => void} told hears whether the kernel has not answered for some time
 */
export function kernelOf(model, told) {
  const view = Math.random().toString(36).slice(2, 10); // a widget may be shown several times
  /** @type {Map<string, Asked>} */
  const running = new Map();
  /** @type {Map<string, Asked>} */
  const waiting = new Map();
  /** @type {Map<string, ReturnType<typeof setTimeout>>} */
  const clocks = new Map();

  /** @param {string} lane @param {Asked} asked */
  function sendOff(lane, asked) {
    running.set(lane, asked);
    clocks.set(lane, setTimeout(() => told(true), SLOW));
    try {
      model.send({ view, lane, name: asked.name, fields: asked.fields });
    } catch { // as where the kernel was started anew, and knows nothing of the widget
      running.delete(lane);
      clearTimeout(clocks.get(lane));
      told(true);
      asked.reject(new Superseded());
    }
  }

  /** @param {any} said */
  function heard(said) {
    const asked = said && said.view === view ? running.get(said.lane) : undefined;
    if (!asked) return;
    running.delete(said.lane);
    clearTimeout(clocks.get(said.lane));
    told(false);
    const next = waiting.get(said.lane);
    if (next) {
      waiting.delete(said.lane);
      asked.reject(new Superseded());
      sendOff(said.lane, next);
    } else if ("error" in said) asked.reject(new Refused(said.error));
    else asked.resolve(said.answer);
  }
  model.on("msg:custom", heard);

  return {
    /**
     * @param {string} name
     * @param {Record<string, any>} fields
     * @param {string} [lane]
     * @returns {Promise<any>}
     */
    ask: (name, fields, lane = name) => new Promise((resolve, reject) => {
      const asked = { name, fields, resolve, reject };
      if (!running.has(lane)) {
        sendOff(lane, asked);
        return;
      }
      const older = waiting.get(lane);
      if (older) older.reject(new Superseded());
      waiting.set(lane, asked);
    }),

    /**
     * Nobody waits for the answers of a lane any more. What is on its way still ends it before anything else is asked.
     * @param {string} lane
     */
    cancel(lane) {
      for (const asked of [running.get(lane), waiting.get(lane)]) if (asked) asked.reject(new Superseded());
      waiting.delete(lane);
    },

    end() {
      model.off("msg:custom", heard);
      for (const clock of clocks.values()) clearTimeout(clock);
    },
  };
}
