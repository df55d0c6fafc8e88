"""docs/faults.md and the fault suite say the same: every scenario has its test, and every test its place there."""

from __future__ import annotations

import re

import pytest

from tools.faults import BEGIN, BOOK, ROOT, fault_tests, the_list

TESTS = fault_tests()
SCENARIOS = range(1, 55)
TO_COME = (50, 52)
"""Cookie mode and redirect login: there is nothing to break yet."""
LINK = re.compile(r"\[`(test_\w+)`\]\((\S+?)\)")
ROW = re.compile(r"^\| (?:\[(\d+)\]\(#(\d+)\)|(\d+)) \| .+ \| .+ \|$", re.MULTILINE)


def test_every_scenario_has_its_row() -> None:
    """1 to 54, in order, each with what goes wrong and what happens, and a link to its tests where there are any."""
    rows = ROW.findall(BOOK.read_text().partition(BEGIN)[0])
    assert [int(linked or bare) for linked, _, bare in rows] == list(SCENARIOS)
    assert [int(bare) for _, _, bare in rows if bare] == list(TO_COME)
    assert all(linked == anchor for linked, anchor, _ in rows)


@pytest.mark.parametrize("number", [number for number in SCENARIOS if number not in TO_COME])
def test_every_scenario_has_a_test(number: int) -> None:
    """At least one function ``test_NN_...`` below tests/faults, whose docstring says what can be observed."""
    tests = [test for test in TESTS if test.number == number]
    assert tests
    assert all(test.says for test in tests)


def test_every_test_is_linked_and_every_link_leads_to_a_test() -> None:
    """The links of the book are exactly the tests there are, in the files they name."""
    linked = LINK.findall(BOOK.read_text())
    assert sorted(linked) == sorted((test.name, test.path) for test in TESTS)
    assert all((BOOK.parent / path).resolve().is_relative_to(ROOT) for _, path in linked)


def test_the_list_is_up_to_date() -> None:
    """What is said of each test is what it says of itself; ``python -m tools.faults`` puts it right."""
    text = BOOK.read_text()
    assert text[text.index(BEGIN) :] == the_list()
