"""Testing: the mock server as a pytest fixture, for the tests of any front end.

In a ``conftest.py``::

    pytest_plugins = ["mock_server.testing"]

and then in a test::

    def test_the_app_survives_an_overloaded_server(mock_server):
        mock_server.fault(path="/api/auth/refresh", kind="status", status=503, times=3)
        ...

The one module of this package that needs pytest. What it hands out is in `remote`, for other test runners.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from mock_server.remote import MockServerError, Remote, Server

__all__ = ["MockServerError", "Remote", "Server", "mock_server", "mock_server_options", "mock_server_process"]


@pytest.fixture(scope="session")
def mock_server_options() -> Sequence[str]:
    """Give the server options of the command line: override this, in a conftest.py, to give others."""
    return ["--no-page"]


@pytest.fixture(scope="session")
def mock_server_process(mock_server_options: Sequence[str]) -> Iterator[Server]:
    """Run one server for all tests, since a start takes most of a second."""
    with Server(*mock_server_options) as server:
        yield server


@pytest.fixture
def mock_server(mock_server_process: Server) -> Server:
    """Hand out the server with everything back at the start, also when the last test stopped it."""
    mock_server_process.start()
    mock_server_process.reset()
    return mock_server_process
