"""A plain static host: files below a path, no headers of its own. It counts what is asked for, and can be slow."""

from __future__ import annotations

import http.server
import threading
from collections import Counter
from pathlib import Path
from typing import Any

PREFIX = "/some/prefix/"


class StaticHost:
    """Serves ``folder`` below a path, in a thread of its own, until it is stopped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: Counter[str] = Counter()
        """How often each path was asked for, from the prefix on."""
        self.sent: Counter[str] = Counter()
        """How often each was sent, and not only said to be as it was."""
        self.held_back = ""
        """Of a file whose name ends so, half is sent; the rest when ``go_on`` is set."""
        self.go_on = threading.Event()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def origin(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """The address of the page."""
        return self.origin + PREFIX

    def stop(self) -> None:
        """Serve no more: from now on every connection is refused."""
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[http.server.SimpleHTTPRequestHandler]:
        host = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            """Serves one request after the other of a connection."""

            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def translate_path(self, path: str) -> str:
                self.directory = str(host.folder)  # which may have been changed since the connection was made
                inside = path.startswith(PREFIX)
                host.asked[path.removeprefix(PREFIX).partition("?")[0]] += 1
                return super().translate_path(path.removeprefix(PREFIX.rstrip("/")) if inside else "/no such file")

            def copyfile(self, source: Any, outputfile: Any) -> None:
                content = source.read()
                host.sent[Path(source.name).relative_to(host.folder).as_posix()] += 1
                half = len(content) // 2 if host.held_back and source.name.endswith(host.held_back) else len(content)
                outputfile.write(content[:half])
                if half < len(content):
                    outputfile.flush()
                    host.go_on.wait()
                    outputfile.write(content[half:])

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        return Handler
