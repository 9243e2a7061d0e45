"""For all tests: the network ends at this machine, and nothing of the user's environment leaks in."""

from __future__ import annotations

import os

import pytest
from pytest_socket import socket_allow_hosts

LOOPBACK = ["127.0.0.0/8", "::1", "localhost"]


@pytest.hookimpl(trylast=True)
def pytest_runtest_setup() -> None:
    """A connection beyond this machine raises; sockets of the file system are fine."""
    socket_allow_hosts(LOOPBACK, allow_unix_socket=True)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """PROVISIONER_* of the shell that runs the tests must not change what is tested."""
    for name in [one for one in os.environ if one.startswith("PROVISIONER_")]:
        monkeypatch.delenv(name)
