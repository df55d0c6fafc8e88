"""Requests by the browser's own fetch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import js
from pyodide.ffi import JsException, JsProxy, to_js

from .._errors import InvalidRequestError, RequestAbortedError, TransportError
from .._models import Body, Headers, Request, Response, Target

_PROTOCOLS = ("http:", "https:")


class FetchTransport:
    """``fetch`` of the Fetch standard. A cancelled ``send`` aborts the request."""

    def __init__(self) -> None:
        self._document_base = ""
        self._base = ""

    def resolve(self, url: str) -> Target:
        """Resolve a URL by the URL standard, a relative one against the document.

        What is not http(s) has the origin ``null``: a ``blob:`` URL would else have that of the page that made it.
        """
        if not isinstance(url, str):
            raise InvalidRequestError(f"A URL is a str, not {type(url).__name__}.")
        try:
            parsed = js.URL.new(url, self._find_base())
        except JsException:
            raise InvalidRequestError("The URL cannot be parsed.") from None
        if parsed.username or parsed.password:
            raise InvalidRequestError("A URL with a user name or password in it cannot be fetched.")
        parsed.hash = ""
        return Target(parsed.href, parsed.origin if parsed.protocol in _PROTOCOLS else "null")

    def _find_base(self) -> str:
        """Return what relative URLs are relative to: never a ``<base>`` of another origin.

        Whoever can put markup into a page, though no script, could else have the tokens sent to a server of theirs.
        """
        base = str(js.document.baseURI if hasattr(js, "document") else js.location.href)  # a worker has no document
        if base != self._document_base:
            self._document_base = base
            foreign = js.origin not in ("null", js.URL.new(base).origin)  # a sandboxed frame has no origin of its own
            self._base = str(js.location.href) if foreign else base
        return self._base

    def snapshot(self, body: Any) -> Body:
        """Copy what can change, keep what cannot, and mark a stream as sent once."""
        kind = js.Object.prototype.toString.call(body) if isinstance(body, JsProxy) else ""
        take = _SNAPSHOTS.get(kind)
        if take is None:
            shown = kind or type(body).__name__
            raise InvalidRequestError(f"A body is str, bytes, or a FormData, Blob, buffer or stream, not {shown}.")
        return take(body)

    async def send(self, request: Request) -> Response:
        """Send the request."""
        gone = js.AbortController.new()
        try:
            asked = js.Request.new(request.target.url, _options(request, gone.signal))
        except JsException as error:
            raise InvalidRequestError(f"The browser takes this for no request ({_name(error)}).") from None
        try:
            response = await js.fetch(asked)
        except JsException as error:
            if (signal := request.options.get("signal")) is not None and signal.aborted:
                raise RequestAbortedError("The request was aborted by its AbortSignal.") from None
            raise TransportError(f"No answer from the server ({_name(error)}).") from None
        except BaseException:
            gone.abort()
            raise
        return Response(
            status=response.status,
            url=response.url or request.target.url,
            headers=Headers(_list(response.headers.entries()).to_py()),  # an object may not be named "constructor"
            status_text=response.statusText,
            redirected=bool(response.redirected),
            read=_reader(response, gone, request.longest_answer),
            js_response=response,
        )


_list = getattr(js.Array, "from")


def _options(request: Request, signal: Any) -> Any:
    options: dict[str, Any] = {**request.options, "method": request.method, "headers": dict(request.headers)}
    options["signal"] = signal
    if (callers := request.options.get("signal")) is not None:
        options["signal"] = js.AbortSignal.any(to_js([signal, callers]))
    if request.body is not None:
        options["body"] = request.body.content
        if not request.body.replayable:
            options["duplex"] = "half"  # without it fetch refuses a stream
    return to_js(options, dict_converter=js.Object.fromEntries)


def _reader(response: Any, gone: Any, longest: int | None) -> Callable[[], Awaitable[bytes]]:
    """Return a function that reads the body, once; asked again it answers from memory, as pyfetch does not."""
    content: bytes | None = None

    async def read() -> bytes:
        nonlocal content
        if content is None:
            try:
                content = await _read_all(response) if longest is None else await _read_at_most(longest, response)
            except JsException as error:
                raise TransportError(f"The answer broke off ({_name(error)}).") from None
            except BaseException:
                gone.abort()
                raise
        return content

    return read


async def _read_all(response: Any) -> bytes:
    buffer = await response.arrayBuffer()
    return bytes(buffer.to_bytes())


async def _read_at_most(longest: int, response: Any) -> bytes:
    """Read piece by piece, since the answer's Content-Length may be missing or wrong."""
    if not response.body:
        return b""
    reader = response.body.getReader()
    content = bytearray()
    while not (piece := await reader.read()).done:
        content += piece.value.to_bytes()
        if len(content) > longest:
            raise TransportError(f"The answer is longer than {longest} bytes.")
    return bytes(content)


def _name(error: JsException) -> str:
    """Return the kind of a JavaScript error; its text may quote the request."""
    return str(getattr(error, "name", "Error"))


def _copy_form(form: Any) -> Body:
    copy = js.FormData.new()
    for name, value in form.entries():
        copy.append(name, value)
    return Body(copy)


_SNAPSHOTS: dict[str, Callable[[Any], Body]] = {
    "[object FormData]": _copy_form,
    "[object Blob]": Body,
    "[object File]": Body,
    "[object URLSearchParams]": lambda body: Body(
        body.toString(), content_type="application/x-www-form-urlencoded;charset=UTF-8"
    ),
    "[object ArrayBuffer]": lambda body: Body(body.slice(0)),
    "[object ReadableStream]": lambda body: Body(body, replayable=False),
    **{
        f"[object {kind}]": lambda body: Body(body.slice())
        for kind in ("Uint8Array", "Int8Array", "Uint8ClampedArray", "Uint16Array", "Uint32Array", "Float32Array")
    },
}
