"""Figures: what a run measured, each beside its bound, and whether they hold."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


class Figures:
    """Prints figures as they come; ``verdict`` is the exit status of the script."""

    def __init__(self, title: str) -> None:
        self._missed = 0
        self._since = time.monotonic()
        self.say(title)

    def say(self, text: str) -> None:
        """Print something that has no bound."""
        print(text, flush=True)

    def at_most(self, what: str, value: float, bound: float) -> None:
        """Print a figure that must not exceed its bound."""
        self._judge(what, value, f"at most {bound:g}", holds=value <= bound)

    def at_least(self, what: str, value: float, bound: float) -> None:
        """Print a figure that must reach its bound."""
        self._judge(what, value, f"at least {bound:g}", holds=value >= bound)

    def exactly(self, what: str, value: float, bound: float) -> None:
        """Print a figure that must be so and not otherwise."""
        self._judge(what, value, f"exactly {bound:g}", holds=value == bound)

    def verdict(self) -> int:
        """Print whether all figures held; return 0 if they did."""
        outcome = f"FAIL: {self._missed} missed" if self._missed else "PASS"
        self.say(f"{outcome} ({time.monotonic() - self._since:.0f} s)")
        return 1 if self._missed else 0

    def _judge(self, what: str, value: float, bound: str, *, holds: bool) -> None:
        self._missed += not holds
        self.say(f"  {'pass' if holds else 'FAIL'}  {what}: {shown(value)} ({bound})")


def shown(value: float) -> str:
    """Write a number as a person would: whole ones whole, others with three digits that mean something."""
    return str(int(value)) if value == int(value) else f"{value:.3g}"


def leave(run: Callable[[], int]) -> None:
    """Run a bench and end the process with its verdict."""
    sys.exit(run())
