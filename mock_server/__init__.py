"""A server to test freshfetch against. For testing only: its users are public, its faults are deliberate.

One Starlette app speaks the JSON API of the article (sign in, refresh, sign out, heartbeat, data, notes, echo), keeps
everything in memory, writes down every request in a journal, and misbehaves on demand.

    python -m mock_server                           the API and the page, on a real socket
    create_app(Settings(...), clock=...)            the same app in a test, in virtual time
    pytest_plugins = ["mock_server.testing"]        a process of its own, for the tests of any front end
    embedded.start(post, save, saved)               inside the browser, where there is no server at all

Rules for people who edit this package:

- Endpoints are coroutines and nothing starts a thread: the same app runs inside the browser, where there are none.
  (`remote` and `testing` stand outside: they steer a server in another process, and nothing here imports them. What
  else a browser has no use for is listed in `archive`.)
- Only `__main__` knows that uvicorn exists.
- Time comes from the clock that was passed in, waiting from `asyncio.sleep`; nothing else looks at a clock.
- State is made of plain values (text, numbers, lists, dicts), and each noun that has some can `dump` and `load` it,
  so that a host can save it as JSON. When its shape changes, so does `state.VERSION`.
- A token never reaches the journal, an error message or a repr.
"""
