"""Health and metrics as a monitoring system sees them, over real sockets."""

import asyncio
import base64
import datetime
import hashlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from storm_scene import Told

from provisioner import __version__
from provisioner.capacity import Cores
from provisioner.http.admin import AdminEdge, Health, Ping
from provisioner.http.fleet_state import FleetState
from provisioner.http.server import QuietServer
from provisioner.http.storm_events import StormEvents
from provisioner.http.storm_page import HEADERS
from provisioner.http.storm_watch import StormWatch
from provisioner.model import DeviceState
from provisioner.store.census import Group

STATE = {"workers": [11, 12], "wanted": 2, "generation": 3, "started": 1000.0, "stopping": False}


def certificate(path: Path, days: float) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "prov.example")])
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(end - datetime.timedelta(days=400)).not_valid_after(end)
    signed = builder.sign(key, hashes.SHA256())
    path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    return path


def ignore(_metric: str, _label: str) -> None:
    """These tests count nothing."""


async def fine() -> str:
    return ""


async def broken() -> str:
    return "the database is locked"


async def stuck() -> str:
    await asyncio.sleep(60)
    return ""


async def census(_since: float) -> list[Group]:
    return [Group("poly", DeviceState.ASSIGNED, 30, 20), Group("poly", DeviceState.REVOKED, 2, 0)]


@asynccontextmanager
async def admin(tmp_path: Path, state: object = STATE, ping: Ping = fine, days: float = 90.5) -> AsyncIterator[str]:
    health = Health([certificate(tmp_path / "server.pem", days)], ping)
    health.told(json.dumps(state))
    metrics = tmp_path / "metrics"
    metrics.mkdir()
    fleet = FleetState(census)
    await fleet.refresh(storm=False)
    watch = StormWatch(dict, fleet, Cores(2, 0.8), StormEvents(Told()))
    edge = AdminEdge(health, metrics, fleet, watch)
    server = QuietServer(edge.handle, ignore)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()
        await server.shutdown(1)


async def health(url: str) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/health") as response:
        return response.status, await response.json()


@pytest.mark.asyncio
async def test_a_healthy_server_says_all(tmp_path: Path) -> None:
    async with admin(tmp_path) as url:
        status, document = await health(url)
    assert status == 200
    assert document["status"] == "ok"
    assert document["version"] == __version__
    assert document["workers"] == {"alive": 2, "wanted": 2, "pids": [11, 12]}
    assert document["database"] == {"reachable": True, "why": ""}
    assert document["uptime_seconds"] > 1e9
    (one,) = document["certificates"]
    assert (one["file"], one["days_left"]) == ("server.pem", 90)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("change", "ping", "days", "status", "word"),
    [
        ({"workers": [11]}, fine, 90, 200, "degraded"),
        ({"workers": []}, fine, 90, 503, "failing"),
        ({"stopping": True}, fine, 90, 503, "failing"),
        ({}, broken, 90, 503, "failing"),
        ({}, stuck, 90, 503, "failing"),
        ({}, fine, -2, 503, "failing"),
    ],
)
async def test_what_is_wrong_shows(
    tmp_path: Path, change: dict[str, object], ping: Ping, days: float, status: int, word: str
) -> None:
    async with admin(tmp_path, {**STATE, **change}, ping, days) as url:
        got, document = await health(url)
    assert (got, document["status"]) == (status, word)
    assert document["database"]["reachable"] is (ping is fine)


@pytest.mark.asyncio
async def test_metrics_and_nothing_else(tmp_path: Path) -> None:
    async with admin(tmp_path) as url, aiohttp.ClientSession() as session:
        async with session.get(f"{url}/metrics") as response:
            assert response.status == 200
            assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            text = await response.text()
            assert 'provisioner_devices{state="assigned",vendor="poly"} 30.0' in text
            assert 'provisioner_devices_active{state="assigned",vendor="poly"} 20.0' in text
        async with session.head(f"{url}/health") as response:
            assert response.status == 200
            assert int(response.headers["Content-Length"]) > 100
        for path in ("//", "/index.html", "/health/", "/storm/", "/metrics/../health/x", "/admin", "/000000000000.cfg"):
            async with session.get(f"{url}{path}") as response:
                assert response.status == 404
                assert await response.read() == b""
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            async with session.request(method, f"{url}/health") as response:
                assert response.status == 405


@pytest.mark.asyncio
async def test_the_first_page_leads_to_all_others_and_is_as_closed_as_the_storm_view(tmp_path: Path) -> None:
    async with admin(tmp_path) as url, aiohttp.ClientSession() as session:
        async with session.get(f"{url}/") as response:
            assert response.status == 200
            text, headers = await response.text(), response.headers
        for line in HEADERS.split("\r\n")[:-1]:
            name, _, value = line.partition(": ")
            assert headers[name] == value
        style = text.partition("<style>")[2].partition("</style>")[0]
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert f"style-src 'sha256-{digest}'" in headers["Content-Security-Policy"]
        links = re.findall('href="([^"]+)"', text)
        assert links == ["/storm", "/storm.json", "/health", "/metrics"]
        for link in links:
            async with session.get(f"{url}{link}") as response:
                assert response.status == 200, link
        async with session.head(f"{url}/") as response:
            assert (response.status, int(response.headers["Content-Length"])) == (200, len(text.encode()))
