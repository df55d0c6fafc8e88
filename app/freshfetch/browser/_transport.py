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
        answer = _Answer(response, gone, request.longest_answer)
        return Response(
            status=response.status,
            url=response.url or request.target.url,
            headers=Headers(_list(response.headers.entries()).to_py()),  # an object may not be named "constructor"
            status_text=response.statusText,
            redirected=bool(response.redirected),
            read=answer.read,
            take_js=answer.take,
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


class _Answer:
    """The body of an answer: read at most once, and let go of when nobody can read it any more.

    A browser keeps files open for an answer until it is read or its own garbage collector comes by, which a page that
    drops small answers seldom sees: after some 20 000 of them no request is sent any more. Python knows at once.
    """

    def __init__(self, response: Any, gone: Any, longest: int | None) -> None:
        self._response = response
        self._gone = gone
        self._longest = longest
        self._content: bytes | None = None
        self._taken = False

    async def read(self) -> bytes:
        """Read the body; asked again answer from memory, as pyfetch does not."""
        if self._content is None:
            try:
                self._content = await self._read()
            except JsException as error:
                raise TransportError(f"The answer broke off ({_name(error)}).") from None
            except BaseException:
                self._gone.abort()
                raise
        return self._content

    def _read(self) -> Awaitable[bytes]:
        return _read_all(self._response) if self._longest is None else _read_at_most(self._longest, self._response)

    def take(self) -> Any:
        """Give out the browser's own Response, whose body is then not ours to let go of."""
        self._taken = True
        return self._response

    def __del__(self) -> None:
        if self._content is None and not self._taken:
            self._gone.abort()


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
