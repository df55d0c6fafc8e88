"""The browser tests' fixtures, in the engine that ``--engine`` names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.harness.chromium import Chromium
from tests.browser.harness.other_engines import Firefox, WebKit
from tests.browser.harness.page import Browser

ENGINES = {"chromium": Chromium, "firefox": Firefox, "webkit": WebKit}


@pytest.fixture(scope="session")
def module_browser(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser of the chosen engine for all these tests; only Chromium need not be started again for each."""
    browser = ENGINES[request.config.getoption("--engine")](tmp_path_factory.mktemp("browser"))
    yield browser
    browser.quit()
