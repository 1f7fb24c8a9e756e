/** The server: requests, its problems, the key, event streams, and what happens while it is gone. */

const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;
const SILENCE = 45_000; // a stream says something every 15 s

/** What the server refused, in its own words (problem+json). */
export class Problem extends Error {
  constructor(status, body, after = null) {
    super(body.detail ?? body.title ?? `the server answered ${status}`);
    this.status = status;
    this.isBusy = status === 503 && body.detail != null; // the server is there, and says why it cannot now; a proxy says nothing
    this.after = after; // milliseconds after which it wants to be asked again
    this.field = body.field ?? null;
  }
}

/**
 * JSON of an address; waits for a server that is gone, or busy.
 * @param {string} path
 * @param {AbortSignal} [signal]
 */
export async function get(path, signal) {
  return (await received(path, { signal })).json();
}

/** The same as text. */
export async function text(path, signal) {
  return (await received(path, { signal })).text();
}

/** A write request; not repeated when the server is gone, as nobody knows whether it arrived. */
export async function send(method, path, body) {
  const request = { method, headers: { "Content-Type": "application/json" }, body: body === undefined ? undefined : JSON.stringify(body) };
  try {
    const response = await answered(path, request);
    return response.status === 204 ? null : await response.json();
  } catch (error) {
    if (!isGone(error)) throw error;
    serverBack();
    throw new Problem(0, { detail: "The server did not answer, so this may or may not have been done: look again when it is back." });
  }
}

/** All items of a list. */
export async function all(path, signal) {
  const items = [];
  for (let cursor = ""; cursor !== null; ) {
    const page = await get(`${path}${path.includes("?") ? "&" : "?"}limit=500${cursor && `&cursor=${encodeURIComponent(cursor)}`}`, signal);
    items.push(...page.items);
    cursor = page.next;
  }
  return items;
}

let options_ = null;
/** What the server offers and what this key may do. */
export function options() {
  options_ ??= get("/v1/options").catch((error) => { options_ = null; throw error; });
  return options_;
}

export const studyPath = (name) => `/v1/studies/${encodeURIComponent(name)}`;

let refused = 0; // requests that wait for a busy server
async function received(path, request) {
  let isRefused = false;
  try {
    for (let wait = FIRST_WAIT; ; wait = Math.min(2 * wait, LONGEST_WAIT)) {
      try {
        return await answered(path, request);
      } catch (error) {
        if (request.signal?.aborted || !(error.isBusy || isGone(error))) throw error;
        if (!error.isBusy) {
          await serverBack(request.signal);
          continue;
        }
        if (!isRefused) refused += 1;
        isRefused = true;
        dispatchEvent(new CustomEvent("busy", { detail: error.message }));
        await pause((error.after || wait) * (1 + Math.random() / 4), request.signal);
      }
    }
  } finally {
    if (isRefused && --refused === 0) dispatchEvent(new CustomEvent("busy", { detail: null }));
  }
}

const isGone = (error) => error instanceof TypeError || (error instanceof Problem && [502, 503, 504].includes(error.status) && !error.isBusy);

async function answered(path, request) {
  for (;;) {
    const key = sessionStorage.getItem("key");
    const headers = { ...request.headers, ...(key && { Authorization: `Bearer ${key}` }) };
    const response = await fetch(path, { ...request, headers });
    if (response.ok) return response;
    if (response.status === 401) {
      if (key === sessionStorage.getItem("key")) await newKey(key !== null);
      continue;
    }
    const after = response.headers.get("Retry-After");
    if (response.status === 429) {
      await pause(1000 * Number(after ?? 1), request.signal);
      continue;
    }
    throw new Problem(response.status, await response.json().catch(() => ({})), after && 1000 * Number(after));
  }
}

let asking = null;
/** Asks for a key, once however many requests want one. Who has one that was not refused may keep it. */
export function newKey(wasWrong) {
  asking ??= new Promise((resolve) => {
    const [dialog, input, wrong, cancel] = ["dialog", "input", "wrong", "cancel"].map((part) => document.getElementById(`key-${part}`));
    const mayKeep = !wasWrong && sessionStorage.getItem("key") !== null;
    wrong.hidden = !wasWrong;
    wrong.textContent = wasWrong ? "The server refused that key." : "";
    input.value = dialog.returnValue = "";
    cancel.hidden = !mayKeep;
    cancel.onclick = () => dialog.close();
    dialog.onclose = () => {
      const key = dialog.returnValue && input.value.trim(); // neither by Escape nor by Cancel
      if (key && !/^[\x21-\x7e]+$/.test(key)) { // no header holds it
        wrong.hidden = false;
        wrong.textContent = "This is no key: a key has the letters A to Z, digits and signs, and no space.";
        return dialog.showModal();
      }
      if (!key && !mayKeep) return dialog.showModal(); // without a key there is nothing to show
      if (key) {
        sessionStorage.setItem("key", key);
        options_ = null;
        dispatchEvent(new Event("key"));
      }
      asking = null;
      return resolve();
    };
    dialog.showModal();
  });
  return asking;
}

const pause = (milliseconds, signal) =>
  new Promise((resolve, reject) => {
    const stop = () => { clearTimeout(timer); reject(signal.reason); };
    const timer = setTimeout(() => { signal?.removeEventListener("abort", stop); resolve(); }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });

let waiting = null;
/** Resolves when the server answers again: one loop and one banner, however many requests wait. */
function serverBack(signal) {
  waiting ??= (async () => {
    for (let wait = FIRST_WAIT; ; wait = Math.min(2 * wait, LONGEST_WAIT)) {
      const spread = wait * (0.75 + Math.random() / 2); // so that a hundred pages do not come back at once
      dispatchEvent(new CustomEvent("server", { detail: { retryAt: Date.now() + spread } }));
      await new Promise((resolve) => {
        setTimeout(resolve, spread);
        addEventListener("retry", resolve, { once: true });
        addEventListener("online", resolve, { once: true });
      });
      const alive = await fetch("/healthz", { cache: "no-store" }).then((response) => response.ok, () => false);
      if (alive) break;
    }
    waiting = null;
    dispatchEvent(new CustomEvent("server", { detail: { retryAt: null } }));
  })();
  return Promise.race([waiting, new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason), { once: true }))]);
}

const inSight = () => new Promise((resolve) => {
  if (document.hidden) document.addEventListener("visibilitychange", resolve, { once: true });
  else resolve();
});

/**
 * Follows an event stream until the signal ends it. It is read by fetch, since EventSource sends no key. A hidden tab lets go of
 * its stream, as a browser opens six connections to a server and no more, and goes on from the last event when it is looked at.
 * @param {string} path
 * @param {Record<string, (data: any) => void>} handlers by the event's name; `open` is called at each connection
 * @param {AbortSignal} signal
 */
export async function follow(path, handlers, signal) {
  let last = null;
  let wait = FIRST_WAIT;
  while (!signal.aborted) {
    await inSight();
    const leave = new AbortController();
    const hide = () => leave.abort(new TypeError("hidden"));
    let timer = 0;
    const heard = () => { clearTimeout(timer); timer = setTimeout(() => leave.abort(new TypeError("silent")), SILENCE); };
    document.addEventListener("visibilitychange", hide);
    try {
      const headers = { Accept: "text/event-stream", ...(last !== null && { "Last-Event-ID": last }) };
      const response = await received(path, { headers, signal: AbortSignal.any([signal, leave.signal]) });
      handlers.open?.();
      heard();
      for await (const event of eventsOf(response.body, heard)) {
        wait = FIRST_WAIT;
        if (event.id !== null) last = event.id;
        handlers[event.name]?.(JSON.parse(event.data));
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Problem) throw error;
    } finally {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", hide);
    }
    await pause(wait, signal).catch(() => {});
    wait = Math.min(2 * wait, LONGEST_WAIT);
  }
}

async function* eventsOf(body, heard) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
    heard();
    const blocks = (rest + decoder.decode(value, { stream: true })).replaceAll("\r\n", "\n").split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = { id: null, name: "message", data: "" };
      for (const line of block.split("\n")) {
        const [, field, content] = /^([^:]*):? ?(.*)$/.exec(line);
        if (field === "id") event.id = content;
        else if (field === "event") event.name = content;
        else if (field === "data") event.data += (event.data && "\n") + content;
      }
      if (event.data) yield event;
    }
  }
}

/** A function that runs `work` soon after it is called: never twice at once, and idle for longer than it worked. */
export function paced(work, signal) {
  let running = false;
  let wanted = false;
  return async function run() {
    wanted = true;
    if (running) return;
    running = true;
    try {
      while (wanted && !signal.aborted) {
        wanted = false;
        const started = performance.now();
        await work();
        await pause(Math.max(300, 3 * (performance.now() - started)), signal);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      running = false;
    }
  };
}
