// Brings the page's requests to the server inside this browser, and its answers back. See mock_server/README.md.
// At the end: keeps the files of a built site.
//
// - Only requests of pages that chose that server are answered; all others go where they would without this.
// - A request is posted again until a host takes it, and a host takes it once. Nobody takes it for long: 503.
// - A request that a host has taken and that was not answered when the host ended fails like a broken connection:
//   it may have been carried out. A host holds a lock under its own name while it lives, so its end cannot be missed.
"use strict";

const ROOT = new URL(registration.scope);
const CHOSEN = new URL(location.href).searchParams.get("server") ?? "";
const NAME = `freshfetch server ${ROOT.pathname}`;
const SERVED = ["api/", "oauth/", "mock/", ".well-known/"];
const PAGES = ["", "index.html"];

const POST_AGAIN = 100; // milliseconds
const START_AGAIN = 2_000;
const SILENCE = 15_000; // without a word from any host
const STARTING = 120_000; // of a host that lives and is starting, however often it says so
const LONGEST = 240_000; // a browser ends a service worker that is busy with one request for five minutes
const FRESH = 2_000; // milliseconds for which a host may take what was posted, as in server-worker.js
const RETRY_AFTER = 2; // seconds
const BODILESS = [204, 205, 304];

addEventListener("install", (event) => {
  skipWaiting();
  route(event);
});
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("message", (event) => event.data === "claim" && event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (isForServer(url)) event.respondWith(answer(event));
  else if (isKept(url)) event.respondWith(file(event.request));
});

// ---- for the server? ----

function below(url) {
  return url.origin === ROOT.origin && url.pathname.startsWith(ROOT.pathname) ? url.pathname.slice(ROOT.pathname.length) : null;
}

function isForServer(url) {
  const path = below(url);
  return path !== null && SERVED.some((start) => path.startsWith(start));
}

function hasChosen(client) {
  const url = new URL(client.url);
  const asked = url.searchParams.get("server");
  return asked ? asked === "embedded" : CHOSEN === "embedded" && PAGES.includes(below(url));
}

async function askedBy(event) {
  if (event.request.mode !== "navigate") return [await clients.get(event.clientId)].filter(Boolean);
  return clients.matchAll({ type: "window" }); // a page that is about to be has chosen nothing yet
}

async function answer(event) {
  const client = (await askedBy(event)).find(hasChosen);
  return client ? new Call(event, client).answered : fetch(event.request);
}

// ---- requests under way ----

const calls = new Map();
const channel = new BroadcastChannel(NAME);
channel.onmessage = ({ data }) => {
  if (data.part === "failed") for (const call of [...calls.values()]) call.host || call.end(unavailable());
  else calls.get(data.id)?.hear(data);
};

class Call {
  constructor(event, client) {
    this.id = crypto.randomUUID();
    this.client = client;
    this.request = event.request;
    this.answered = new Promise((resolve) => (this.resolve = resolve));
    event.waitUntil(new Promise((resolve) => (this.done = resolve)));
    calls.set(this.id, this);
    this.send();
  }

  async send() {
    try {
      this.message = await described(this.request, this.id);
    } catch {
      return this.lose(); // the page took its body back
    }
    this.heard = Date.now();
    this.asked = this.heard - START_AGAIN + 5 * POST_AGAIN;
    while (calls.has(this.id) && !this.host) {
      const [since, limit] = this.starting ? [this.since, STARTING] : [this.heard, SILENCE];
      if (Date.now() - since > limit) return this.refuse();
      if (!this.starting && Date.now() - Math.max(this.heard, this.asked) > START_AGAIN) this.askForStart();
      channel.postMessage({ ...this.message, at: Date.now() });
      await new Promise((resolve) => setTimeout(resolve, POST_AGAIN));
    }
  }

  // Only what is certain not to be carried out is refused: by now a busy host may have this request before it.
  async refuse() {
    await new Promise((resolve) => setTimeout(resolve, FRESH));
    if (!this.host) this.end(unavailable());
  }

  askForStart() {
    this.asked = Date.now();
    this.client.postMessage("start the server");
  }

  hear({ part, host, status, headers, content }) {
    this.heard = Date.now();
    if (part === "taken") this.taken(host);
    else if (part === "starting") this.startedBy(host);
    else if (part === "whole") this.end(this.response(status, headers, content));
    else if (part === "start") this.start(status, headers);
    else if (part === "chunk") this.body?.enqueue(content);
    else if (part === "end") this.end();
    else if (part === "fail") this.lose();
  }

  startedBy(host) {
    if (this.starting === host) return;
    this.starting = host;
    this.since = Date.now();
    watch(host);
  }

  taken(host) {
    if (this.host) return;
    this.host = host;
    this.limit = setTimeout(() => this.giveUp(), LONGEST);
    watch(host);
  }

  start(status, headers) {
    const stream = new ReadableStream({ start: (body) => (this.body = body), cancel: () => this.giveUp() });
    this.resolve(this.response(status, headers, stream));
    clearTimeout(this.limit);
  }

  response(status, headers, body) {
    const hasNone = this.request.method === "HEAD" || BODILESS.includes(status);
    return new Response(hasNone ? null : body, { status, headers });
  }

  end(answer) {
    if (answer) this.resolve(answer);
    else this.body?.close();
    this.forget();
  }

  lose() {
    this.resolve(Response.error()); // changes nothing if an answer has begun
    this.body?.error(new TypeError("the connection was lost"));
    this.forget();
  }

  giveUp() {
    if (!calls.has(this.id)) return;
    channel.postMessage({ id: this.id, part: "give up" });
    this.resolve(Response.error());
    this.forget();
  }

  forget() {
    clearTimeout(this.limit);
    calls.delete(this.id);
    this.done();
  }
}

async function described(request, id) {
  const url = new URL(request.url);
  const body = await request.arrayBuffer();
  const head = {
    origin: url.origin,
    method: request.method,
    path: `/${below(url)}`,
    query: url.search.slice(1),
    headers: [...request.headers],
  };
  return { id, part: "ask", head: JSON.stringify(head), body };
}

function unavailable() {
  const body = { error: "server_unavailable", error_description: "The server inside this browser does not answer." };
  return Response.json(body, { status: 503, headers: { "Retry-After": String(RETRY_AFTER), "Cache-Control": "no-store" } });
}

// ---- the end of a host ----

const watched = new Set();

async function watch(host) {
  if (watched.has(host)) return;
  watched.add(host);
  await navigator.locks.request(`${NAME} ${host}`, { mode: "shared" }, () => {});
  watched.delete(host);
  for (const call of [...calls.values()]) {
    if (call.host === host) call.lose();
    else if (call.starting === host) call.starting = null;
  }
}

// ---- the files of a built site, for the next visit and for times without a network ----
//
// - Each build has a cache, and a folder of its own name: a page gets all its files from one build.
// - The page itself is put in last, so a cache that has it has everything. A build that could not be kept whole leaves
//   nothing behind: there is no room to waste.
// - Until a build is kept its page comes from the host. An older one is shown only if the host does not answer: it may be
//   the one that did not work.
// - Nothing is fetched for keeping before the page says "keep": a first visit needs the network for itself.

const BUILD = null; // tools/site.py writes it: { folder, files }
const PACKED = ".packed"; // as tools/site_page.py names what is compressed
const TYPES = { wasm: "application/wasm", zip: "application/zip" };
const KEPT = `freshfetch files ${ROOT.pathname} `;
const OWN = KEPT + BUILD?.folder;
const PATIENCE = 5_000; // milliseconds for the host to begin to answer, where there is an older page

let keeping = null;
addEventListener("message", (event) => {
  if (event.data !== "keep" || !BUILD) return;
  keeping ??= keep().finally(() => (keeping = null));
  event.waitUntil(keeping.catch(() => {})); // no room, or no network: the next page that is there asks again
});

function isKept(url) {
  const path = below(url);
  return BUILD !== null && path !== null && (PAGES.includes(path) || path.startsWith("build-"));
}

// Where a browser can do it without us, it takes files from the cache by itself, which is quicker.
function route(event) {
  if (!BUILD || !event.addRoutes) return;
  const urlPattern = new URLPattern({ baseURL: ROOT.origin, pathname: `${ROOT.pathname}${BUILD.folder}/*`, search: "*" });
  event.addRoutes({ condition: { urlPattern }, source: { cacheName: OWN } });
}

async function file(request) {
  const isPage = PAGES.includes(below(new URL(request.url)));
  const found = await caches.match(isPage ? ROOT : request, { cacheName: OWN });
  if (found) return found;
  return isPage ? newestPage(request) : ((await olderFile(request)) ?? fetch(request));
}

async function newestPage(request) {
  const older = await olderFile(ROOT);
  const fetched = fetch(request, { cache: "no-cache" }); // what the browser has of it may be an older one as well
  if (!older) return fetched;
  const late = new Promise((resolve) => setTimeout(resolve, PATIENCE, older));
  const answered = fetched.then((response) => (response.ok || response.type === "opaqueredirect" ? response : older));
  return Promise.race([answered.catch(() => older), late]);
}

async function olderFile(wanted) {
  for (const name of await older()) {
    const found = await caches.match(wanted, { cacheName: name });
    if (found) return found;
  }
}

async function older() {
  return (await caches.keys()).filter((name) => name.startsWith(KEPT) && name !== OWN).reverse();
}

async function keep() {
  const cache = await caches.open(OWN);
  if (await cache.match(ROOT)) return;
  try {
    await fill(cache);
  } catch (problem) {
    await caches.delete(OWN);
    throw problem;
  }
  // The last one that is whole may be open in a tab.
  const names = await older();
  const whole = await Promise.all(names.map((name) => caches.match(ROOT, { cacheName: name })));
  const spared = names[whole.findIndex(Boolean)];
  await Promise.all(names.map((name) => name === spared || caches.delete(name)));
}

async function fill(cache) {
  await Promise.all(BUILD.files.map((name) => put(cache, name)));
  const page = await fetch(ROOT, { cache: "no-cache" });
  if (!(await page.clone().text()).includes(BUILD.folder)) throw new TypeError("the host has a newer one already");
  await cache.put(ROOT, page);
}

async function put(cache, name) {
  const url = new URL(`${BUILD.folder}/${name}`, ROOT).href;
  // What is in a build's folder never changes, so what the browser has of it is right, whatever the host says.
  const response = await fetch(url, { cache: "force-cache" });
  if (!response.ok) throw new TypeError(`${name}: ${response.status}`);
  if (!name.endsWith(PACKED)) return cache.put(url, response);
  // Unpacked, so that no visit has to do it again: it would take the page's own time.
  const unpacked = url.slice(0, -PACKED.length);
  const headers = { "Content-Type": TYPES[unpacked.split(".").pop()] ?? "application/octet-stream" };
  return cache.put(unpacked, new Response(response.body.pipeThrough(new DecompressionStream("gzip")), { headers }));
}
