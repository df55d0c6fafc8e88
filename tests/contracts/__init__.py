"""What every adapter of a port must do, as functions: call them with a maker of your own adapter.

They run on the in-memory adapters under CPython and on the browser's in Chromium, so they import nothing
but the library and the standard library. Each function is one sentence about the port; it raises
AssertionError where an adapter breaks it.
"""
