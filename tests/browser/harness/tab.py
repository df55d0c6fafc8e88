"""A window that is watched and driven from outside, so that it can be frozen, hidden, killed, and cut off."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from selenium.webdriver.support.ui import WebDriverWait

from tests.browser.harness.cdp import Parameters, Wire
from tests.browser.harness.chromium import SCRIPT_TIMEOUT, Chromium, Page

# Runs before anything of the page: tells the test what is stored and every word between tabs, and when.
WIRETAP = """
    (() => {
        const tell = (message) => window.tellTest(JSON.stringify({time: Date.now() / 1000, ...message}));
        const area = (storage) => {
            try { return storage === window.localStorage ? "local" : "session"; } catch { return "refused"; }
        };
        const {setItem, removeItem, getItem} = Storage.prototype;
        Storage.prototype.setItem = function (key, value) {
            const where = {area: area(this), key: String(key)};
            try {
                setItem.call(this, key, value);
            } catch (error) {
                tell({kind: "refused", ...where, value: getItem.call(this, key)});
                throw error;
            }
            tell({kind: "written", ...where, value: String(value)});
        };
        Storage.prototype.removeItem = function (key) {
            removeItem.call(this, key);
            tell({kind: "written", area: area(this), key: String(key), value: null});
        };
        const postMessage = BroadcastChannel.prototype.postMessage;
        BroadcastChannel.prototype.postMessage = function (message) {
            tell({kind: "said", channel: this.name, text: JSON.stringify(message)});
            return postMessage.call(this, message);
        };
        // What a test does to storage itself.
        window.inject = (key, value) => {
            setItem.call(localStorage, key, value);
            tell({kind: "injected", area: "local", key, value});
        };
        window.wipe = () => {
            localStorage.clear();
            tell({kind: "wiped", area: "local", key: "", value: null});
        };
    })();
"""
EVERYTHING_SHOWN = """
    const areas = ["localStorage", "sessionStorage"].map((name) => {
        try { return Object.keys(window[name]); } catch { return []; }
    });
    return {
        html: document.documentElement.outerHTML, title: document.title,
        url: location.href, referrer: document.referrer,
        keys: areas.flat(), fields: [...document.querySelectorAll("input, textarea")].map((each) => each.value),
    };
"""


AT_REST = """
    import sys
    seen = sys.modules.get("tests.browser.inpage.witness")
    seen.at_rest() if seen else []
"""
# A file of the server's that a browser shows as it is, with no script in it.
PLAIN = "/harness/harness.mjs"
MOST_POST_DATA = 100_000
TOKENS = ("accessToken", "refreshToken")


@dataclass(slots=True)
class Testimony:
    """What one tab did, as far as it could be seen from outside, in order."""

    told: list[dict[str, Any]] = field(default_factory=list)
    """What the page said of itself; each has a ``kind`` and a ``time``."""
    console: list[str] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    """Each request that left: ``url``, ``method``, ``headers``, ``body``."""
    shown: dict[str, Any] = field(default_factory=dict)
    """What could be read in the page at the end."""
    at_rest: list[dict[str, Any]] = field(default_factory=list)
    """What its sessions said of themselves at the end."""
    frozen: list[tuple[float, float]] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)
    """What answers held that never reached the page."""
    lost: list[float] = field(default_factory=list)
    """When answers were thrown away on their way to it."""
    refusals: list[str] = field(default_factory=list)
    """Why the browser did not keep a page for the way back."""
    killed: float | None = None
    """When it was closed or killed."""

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        """Return what was told of some kinds."""
        return [each for each in self.told if each["kind"] in kinds]

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the events of that name, of all sessions of the tab."""
        return [each for each in self.of("event") if each["event"] == name]


class Tab(Page):
    """A page in a window of its own, on a raw socket; what it does is written down from the start."""

    def __init__(self, browser: Chromium, handle: str, url: str, path: str = "/harness/") -> None:
        super().__init__(browser, handle, url)
        self.path = path
        self.wire = Wire(browser.address, handle)
        self.testimony = Testimony()
        self._frozen_at: float | None = None
        self._contexts: dict[str, int] = {}
        self._listen()

    def load(self) -> None:
        """Load the page, again if it is there, and wait until Python runs."""
        self.go(self.path)
        self.booted()

    def go(self, path: str) -> None:
        """Go to an address of the server as a link would, and wait until it is there."""
        self.wire.call("Page.navigate", url=f"{self.url}{path}")
        self.wire.arrived(f"{self.url}{path}")
        self.wire.wait_for("Page.loadEventFired")

    def booted(self) -> None:
        """Wait until Python runs."""
        assert self.script("return window.harness.booted") is True

    def script(self, source: str, *arguments: object) -> Any:
        """Run JavaScript; a promise that it returns is awaited. Does not touch which window is in front."""
        return self.wire.evaluate(source, *arguments)

    def load_sandboxed(self) -> None:
        """Load the page in a sandboxed frame and run there what is run from now on; the server must let ``null`` in."""
        self.go(PLAIN)
        self.script(
            """
            const frame = document.createElement("iframe");
            frame.sandbox = "allow-scripts";
            frame.src = arguments[0];
            document.documentElement.append(frame);
        """,
            self.path,
        )
        there = f"{self.url}{self.path}"
        loaded = self.wire.wait_for("Page.frameNavigated", lambda event: event["frame"]["url"] == there)["frame"]["id"]
        self.wire.wait_for("Page.frameStoppedLoading", lambda event: event["frameId"] == loaded)
        self.wire.context = self._contexts[loaded]
        self.booted()

    def before_load(self, source: str) -> None:
        """Run JavaScript before anything of the page at each load from now on."""
        self.wire.call("Page.addScriptToEvaluateOnNewDocument", source=source)

    def wait_until(self, condition: Callable[[Testimony], object]) -> None:
        """Wait until what the tab has told so far says so."""
        WebDriverWait(self.browser.driver, SCRIPT_TIMEOUT, 0.02).until(lambda _: self._hears(condition))

    def _hears(self, condition: Callable[[Testimony], object]) -> bool:
        self.wire.catch_up()
        return bool(condition(self.testimony))

    # -- what can happen to it --

    def freeze(self) -> None:
        """Freeze it, as a browser does with a tab that is long out of sight: nothing runs in it any more."""
        self.wire.call("Page.setWebLifecycleState", state="frozen")
        self._frozen_at = time.time()

    def thaw(self) -> None:
        """Let it go on."""
        self.wire.call("Page.setWebLifecycleState", state="active")
        if self._frozen_at is not None:
            self.testimony.frozen.append((self._frozen_at, time.time()))
            self._frozen_at = None

    def crash(self) -> None:
        """Kill its process."""
        self.wire.send("Page.crash")
        self.wire.wait_for("Inspector.targetCrashed")
        self.testimony.killed = time.time()

    def close(self) -> None:
        """Close it, as a person would."""
        self.wire.catch_up()
        self.wire.send("Page.close")
        self.wire.wait_for("Inspector.detached")
        self.testimony.killed = time.time()

    # -- what can happen to its storage --

    def clear(self, *kinds: str) -> None:
        """Clear the site's data, as a person does in the settings: ``local_storage``, ``indexeddb`` ..."""
        self.wire.call("Storage.clearDataForOrigin", origin=self.url, storageTypes=",".join(kinds))
        self._note_wiped()

    def wipe(self, source: str) -> None:
        """Run JavaScript after which nothing that is stored says which generation came last."""
        self.script(source)
        self._note_wiped()

    def _note_wiped(self) -> None:
        self.testimony.told.append({"kind": "wiped", "area": "local", "key": "", "value": None, "time": time.time()})

    # -- what can happen to its requests --

    def hold(self, path: str, stage: Literal["Request", "Response"] = "Response") -> None:
        """Hold requests to ``path`` (``*`` for anything) before they leave, or when the answer has come."""
        self.wire.call("Fetch.enable", patterns=[{"urlPattern": f"*{path}", "requestStage": stage}])

    def held(self) -> Held:
        """Wait for a request that is held."""
        return Held(self, self.wire.wait_for("Fetch.requestPaused"))

    def hold_no_more(self) -> None:
        """Let what is held go on, and everything after it."""
        self.wire.call("Fetch.disable")

    # -- what it did --

    def _listen(self) -> None:
        on = self.wire.on
        on("Runtime.bindingCalled", lambda event: self.testimony.told.append(json.loads(event["payload"])))
        on("Runtime.consoleAPICalled", self._note_console)
        on(
            "Runtime.exceptionThrown",
            lambda event: self.testimony.console.append(json.dumps(event["exceptionDetails"])),
        )
        on("Log.entryAdded", lambda event: self.testimony.console.append(json.dumps(event["entry"])))
        on("Network.requestWillBeSent", self._note_request)
        on("Page.backForwardCacheNotUsed", lambda event: self.testimony.refusals.append(json.dumps(event)))
        on("Runtime.executionContextCreated", self._note_context)
        call = self.wire.call
        for domain in ("Page", "Runtime", "Log"):
            call(f"{domain}.enable")
        call("Network.enable", maxPostDataSize=MOST_POST_DATA)
        call("Runtime.addBinding", name="tellTest")
        self.before_load(WIRETAP)

    def _note_context(self, event: Parameters) -> None:
        context = event["context"]
        if context["auxData"].get("isDefault"):
            self._contexts[context["auxData"]["frameId"]] = context["id"]

    def _note_console(self, event: Parameters) -> None:
        texts = [str(each.get("value", each.get("description", ""))) for each in event["args"]]
        self.testimony.console.append(" ".join([event["type"], *texts]))

    def _note_request(self, event: Parameters) -> None:
        request = event["request"]
        body = request.get("postData", "")
        noted = {"url": request["url"], "method": request["method"], "headers": request["headers"], "body": body}
        self.testimony.requests.append({**noted, "time": event["wallTime"]})

    def testify(self) -> Testimony:
        """Return all that the tab did; one that is alive says how it stands, too."""
        if self._frozen_at is not None:
            self.thaw()
        if not self.wire.gone:
            self.testimony.shown = self.script(EVERYTHING_SHOWN)
            self.testimony.at_rest = self.run(AT_REST)
        return self.testimony


@dataclass(frozen=True, slots=True)
class Held:
    """A request that the browser holds back, or the answer to one."""

    tab: Tab
    event: Parameters

    def let_go(self) -> None:
        """Let it go on."""
        self.tab.wire.call("Fetch.continueRequest", requestId=self.event["requestId"])

    def answer(self, status: int, **headers: str) -> None:
        """Answer it in the server's place, which never hears of it; underscores in names stand for hyphens."""
        fields = [{"name": name.replace("_", "-"), "value": value} for name, value in headers.items()]
        identity = self.event["requestId"]
        self.tab.wire.call("Fetch.fulfillRequest", requestId=identity, responseCode=status, responseHeaders=fields)

    def drop(self) -> None:
        """Throw it away: for the page the network broke."""
        if "responseStatusCode" in self.event:
            answer = self.tab.wire.call("Fetch.getResponseBody", requestId=self.event["requestId"])
            body = base64.b64decode(answer["body"]) if answer["base64Encoded"] else answer["body"]
            found = json.loads(body)
            self.tab.testimony.lost.append(time.time())
            self.tab.testimony.secrets |= {found[name] for name in TOKENS if name in found}
        self.tab.wire.call("Fetch.failRequest", requestId=self.event["requestId"], errorReason="ConnectionReset")
