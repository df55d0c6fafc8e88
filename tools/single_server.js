// Of the page that is one file, in place of app/static/server.js: what its server knows, and that there is one server.
//
// The server runs in the page's own Python. What it knows lies in IndexedDB, where all windows see it, but each would go
// on from it in its own way: so the window that holds a lock has the server, and the others wait until it is closed.
(() => {
  "use strict";

  const NAME = "freshfetch server inside"; // of all copies of the file, wherever a browser takes files for one origin
  const STORE = "state";
  const AT_ONCE = 500; // milliseconds after which a lock that is not had is somebody else's

  const show = (id, isShown) => {
    for (const each of ["boot", "sign-in-view"]) document.getElementById(each).hidden = isShown;
    document.getElementById(id).hidden = !isShown;
  };
  const whenRead = (act) => {
    if (document.readyState === "loading") addEventListener("DOMContentLoaded", act);
    else act();
  };

  // ---- one window ----

  const alone = async () => {
    const late = setTimeout(() => whenRead(() => show("open-elsewhere", true)), AT_ONCE);
    try {
      await new Promise((granted, refused) => {
        navigator.locks.request(NAME, () => {
          granted();
          return new Promise(() => {}); // holds it for as long as the page lives
        }).catch(refused);
      });
    } finally {
      clearTimeout(late);
      whenRead(() => show("open-elsewhere", false));
    }
  };

  // ---- what is kept ----

  const done = (request) =>
    new Promise((resolve, reject) => {
      request.onsuccess = request.oncomplete = () => resolve(request.result);
      request.onerror = request.onabort = () => reject(request.error);
    });

  const open = () => {
    const opening = indexedDB.open(NAME, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
    return done(opening);
  };

  const read = async () => {
    await alone();
    const database = await open();
    const text = await done(database.transaction(STORE).objectStore(STORE).get(STORE));
    localStorage.getItem(NAME); // throws where it is refused, and then the tokens would not be kept
    const save = (changed) => {
      const writing = database.transaction(STORE, "readwrite");
      writing.objectStore(STORE).put(changed, STORE);
      return done(writing);
    };
    return { text: text ?? "", save };
  };

  // ---- what the page is told ----

  const say = (words) => (document.getElementById("server-place").textContent = words);
  const server = { kind: document.documentElement.dataset.server, kept: null };
  server.reachable = read().then(
    (kept) => {
      server.kept = kept;
      whenRead(() => say("inside this page. What it knows stays in this browser, until you clear its data."));
      return true;
    },
    () => {
      whenRead(() => say("inside this page, and forgets everything when you close it."));
      whenRead(() => (document.getElementById("nothing-kept").hidden = false));
      return true;
    },
  );
  window.freshfetchServer = server;
})();
