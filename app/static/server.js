// Which server the page talks to: the one it came from, or one inside this browser. The page says which, in data-server
// of <html> ("" or "embedded"), and ?server=real or ?server=embedded in the address says otherwise. Nothing is probed.
(() => {
  "use strict";

  const page = document.documentElement;
  const given = page.dataset.server ?? "";
  const asked = new URLSearchParams(location.search).get("server");
  const chosen = { real: "", embedded: "embedded" }[asked] ?? given;
  page.dataset.server = chosen;

  const FILES = new URL("../../", document.currentScript.src);
  const built = "files" in page.dataset; // then its files lie in a folder of their own
  const ROOT = built ? new URL("../", FILES) : FILES;
  const WORKER = new URL("server-worker.js", document.currentScript.src).href;
  const SERVICE = new URL("service-worker.js", ROOT);
  // The service worker has to know it, too: it may be asked when no page can answer.
  if (given) SERVICE.searchParams.set("server", given);
  const PATIENCE = 10_000; // milliseconds in which a service worker gets to its page

  const services = navigator.serviceWorker; // none where the page came over plain http from another machine
  const isOurs = (url) => url?.split("?")[0] === SERVICE.href.split("?")[0];
  const after = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

  // Where the real server serves this page nothing may stand before it.
  const removeService = async () => {
    const found = await services?.getRegistration(ROOT);
    const worker = found?.active ?? found?.waiting ?? found?.installing;
    if (found?.scope === ROOT.href && isOurs(worker?.scriptURL)) await found.unregister();
  };

  const createScriptURL = (url) => {
    if (url !== WORKER && url !== SERVICE.href) throw new TypeError(`not a worker of this page: ${url}`);
    return url;
  };
  // Made whether it is needed or not: a policy of this name can be made once, and then nobody else can make it.
  const policy = window.trustedTypes?.createPolicy("freshfetch", { createScriptURL }) ?? { createScriptURL };

  let worker = null; // kept: one that nobody refers to may be collected
  const startWorker = () => {
    const url = policy.createScriptURL(WORKER);
    const options = { type: "module", name: `freshfetch server ${ROOT.pathname}` };
    if (window.SharedWorker) {
      worker = new SharedWorker(url, { ...options, extendedLifetime: true }); // the one there is, if there is one
      return;
    }
    if (worker) return; // it is starting, or waits for its turn
    worker = new Worker(url, options);
    // All it ever says is that it has ended; and it may not have begun.
    for (const end of ["message", "error"]) worker.addEventListener(end, () => (worker = null));
  };

  const controlled = () =>
    new Promise((resolve) => {
      const look = () => isOurs(services.controller?.scriptURL) && resolve();
      services.addEventListener("controllerchange", look);
      look();
    });

  const startService = async () => {
    const options = { scope: ROOT.href, updateViaCache: "none" };
    await services.register(policy.createScriptURL(SERVICE.href), options);
    // A page that was loaded past the cache, by shift and reload, has no service worker until it is claimed.
    const { active } = await services.ready;
    if (!services.controller) active.postMessage("claim");
    await controlled();
  };

  // The page is to be seen before anything is started beside it.
  const painted = async () => {
    if (document.readyState === "loading") await new Promise((resolve) => addEventListener("DOMContentLoaded", resolve));
    if (document.visibilityState === "hidden") return;
    await new Promise((resolve) => {
      requestAnimationFrame(() => setTimeout(resolve));
      setTimeout(resolve, 1000); // it may be hidden before it was painted
    });
  };

  const startEmbedded = async () => {
    if (!services) return miss();
    // The service worker finds nobody who answers: the worker was ended.
    services.addEventListener("message", ({ data }) => data === "start the server" && startWorker());
    services.startMessages();
    const started = Promise.all([startService(), painted().then(startWorker)]).then(() => true);
    started.then(arrive, miss); // it may be late
    return Promise.race([started, after(PATIENCE).then(() => false)]);
  };

  const arrive = () => {
    server.isReached = true;
    tell(WORDS.embedded);
  };

  const miss = () => {
    server.isMissing = true;
    return false;
  };

  const tell = (words) => {
    const act = () => {
      const [place, card] = ["server-place", "server-missing"].map((id) => document.getElementById(id));
      if (place) place.textContent = words;
      if (card) card.hidden = words !== WORDS.missing;
    };
    if (document.readyState === "loading") addEventListener("DOMContentLoaded", act);
    else act();
  };
  const WORDS = {
    embedded: "inside this browser. What it knows stays in this browser, until you clear the data of this site.",
    missing: "that should run inside this browser, which does not let it. Is this a private window, or plain http?",
  };

  const start = async () => {
    if (!chosen) {
      // Storage may be refused: then there is none. One that keeps files may come when it likes.
      if (built) startService().catch(() => {});
      else await Promise.race([removeService().catch(() => {}), after(PATIENCE)]);
      return true;
    }
    tell(WORDS.embedded);
    const reachable = await startEmbedded().catch(() => false);
    if (!reachable) tell(WORDS.missing);
    return reachable;
  };

  // `reachable` resolves to true as soon as requests get to the server, which may still be starting, or to false; then
  // it may be late, unless `isMissing`.
  const server = (window.freshfetchServer = { kind: chosen, isReached: !chosen, isMissing: false });
  server.reachable = start();
})();
