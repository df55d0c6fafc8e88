"""The harness's half in Pyodide: runs what a test sends."""

from __future__ import annotations

import json
import linecache
import traceback
from typing import Any

from pyodide.code import eval_code_async


class Namespace:
    """The names that code sent to one page shares: what one call assigns, the next one sees."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "__test__"}
        self.calls = 0

    async def run(self, source: str, variables: str) -> str:
        """Run the code and return what its last expression gave, or the traceback, as JSON."""
        self.calls += 1
        file = f"<call {self.calls}>"
        # A traceback shows the lines of what it finds here.
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        self.names.update(json.loads(variables))
        try:
            value = await eval_code_async(source, self.names, filename=file)
            return json.dumps({"value": value})
        # Whatever happens, also a cancelled task, the test is to hear of it.
        except BaseException:  # noqa: BLE001
            return json.dumps({"error": traceback.format_exc()})
