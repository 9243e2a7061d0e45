"""The plain HTTP listener: everything for everybody, nothing of anybody, whatever is asked for."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from provisioner.errors import NoSuchFile
from provisioner.firmware import FirmwareShelf
from provisioner.http.bootstrap import BootstrapEdge
from provisioner.http.server import QuietServer
from provisioner.model import FileKind, Mac
from provisioner.pki import make_server
from provisioner.vendors import drivers

BASE = "https://prov.example.net:8443/"
VVX = "FileTransport PolycomVVX-VVX_450-UA/5.9.1.0615 (SN:0004f2aabbcc) Type/Application"
T46 = "Yealink SIP-T46G 28.83.0.50 00:15:65:4a:a9:37"
DRIVERS = drivers()


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_server(tmp_path_factory.mktemp("tls"), "prov.example.net").ca.read_text()


def ignore(_metric: str, _label: str) -> None:
    """Nothing is counted."""


class Bootstrap:
    def __init__(self, directory: Path, ca: str) -> None:
        self.counted: Counter[tuple[str, str]] = Counter()
        self.ca = ca
        self.shelf = FirmwareShelf(directory / "firmware")
        self.edge = BootstrapEdge(DRIVERS, self.shelf, ca, BASE, self.count)
        self.url = ""

    def count(self, metric: str, label: str) -> None:
        self.counted[metric, label] += 1


@asynccontextmanager
async def serving(made: Bootstrap) -> AsyncIterator[Bootstrap]:
    server = QuietServer(made.edge.handle, made.count, access_log=None)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    try:
        yield made
    finally:
        listening.close()
        await server.shutdown(1)


@pytest_asyncio.fixture
async def bootstrap(tmp_path: Path, ca: str) -> AsyncIterator[Bootstrap]:
    async with serving(Bootstrap(tmp_path, ca)) as made:
        yield made


async def get(
    bootstrap: Bootstrap, path: str, agent: str = "", method: str = "GET", data: bytes | None = None
) -> tuple[int, bytes, dict[str, str]]:
    url, sent = bootstrap.url + path, {"User-Agent": agent}
    async with (
        aiohttp.ClientSession(headers=sent) as session,
        session.request(method, url, data=data, allow_redirects=False) as response,
    ):
        assert "Content-Length" in response.headers
        assert "Transfer-Encoding" not in response.headers
        assert "Location" not in response.headers
        return response.status, await response.read(), dict(response.headers)


@pytest.mark.asyncio
async def test_the_ca_comes_as_pem_and_as_der(bootstrap: Bootstrap) -> None:
    status, pem, _ = await get(bootstrap, "ca.pem")
    assert (status, pem.decode()) == (200, bootstrap.ca)
    status, der, _ = await get(bootstrap, "ca.crt")
    certificate = x509.load_pem_x509_certificate(pem)
    assert (status, der) == (200, certificate.public_bytes(serialization.Encoding.DER))
    assert bootstrap.counted["bootstrap", "ca"] == 2


@pytest.mark.asyncio
async def test_without_an_own_ca_there_is_none_to_fetch(tmp_path: Path) -> None:
    async with serving(Bootstrap(tmp_path, "")) as bare:
        assert (await get(bare, "ca.pem"))[0] == 404
        assert (await get(bare, "yealink.cfg", T46))[0] == 200


@pytest.mark.asyncio
@pytest.mark.parametrize("agent", [T46, "", VVX])
async def test_a_yealink_is_sent_to_the_secure_listener(bootstrap: Bootstrap, agent: str) -> None:
    status, boot, _ = await get(bootstrap, "y000000000000.boot", agent)
    assert status == 200
    (included,) = re.findall(rb'^include:config "(.+)"$', boot, re.MULTILINE)
    for name in (included.decode(), "y000000000028.cfg"):
        status, common, _ = await get(bootstrap, name, agent)
        assert status == 200
        assert f"static.auto_provision.server.url = {BASE}\n".encode() in common


@pytest.mark.asyncio
@pytest.mark.parametrize("agent", [VVX, "", T46])
async def test_a_poly_is_sent_to_the_secure_listener(bootstrap: Bootstrap, agent: str) -> None:
    status, master, headers = await get(bootstrap, "000000000000.cfg", agent)
    assert status == 200
    assert "xml" in headers["Content-Type"]
    (listed,) = set(re.findall(rb'CONFIG_FILES(?:_[A-Z0-9]+)?="([^"]*)"', master))
    status, redirect, _ = await get(bootstrap, listed.decode(), agent)
    assert status == 200
    assert f'device.prov.serverName="{BASE.rstrip("/")}"'.encode() in redirect


@pytest.mark.asyncio
async def test_a_phone_that_takes_a_ca_is_given_ours(bootstrap: Bootstrap) -> None:
    _, redirect, _ = await get(bootstrap, "poly.cfg", VVX)
    assert bootstrap.ca.splitlines()[1].encode() in redirect


@pytest.mark.asyncio
async def test_an_obi_is_sent_to_the_secure_listener(bootstrap: Bootstrap) -> None:
    status, body, _ = await get(bootstrap, "OBi302.xml", "OBi302")
    assert status == 200
    assert f"<N>ConfigURL</N><V>{BASE}$MAC.xml</V>".encode() in body


@pytest.mark.asyncio
async def test_head_says_what_get_would_send(bootstrap: Bootstrap) -> None:
    _, body, headers = await get(bootstrap, "yealink.cfg", T46)
    status, nothing, head = await get(bootstrap, "yealink.cfg", T46, "HEAD")
    assert (status, nothing) == (200, b"")
    assert head["Content-Length"] == headers["Content-Length"] == str(len(body))


@pytest.mark.asyncio
async def test_firmware_comes_from_disk_and_only_by_its_vendors_name(bootstrap: Bootstrap, tmp_path: Path) -> None:
    image = tmp_path / "T46G-28.86.0.20.rom"
    image.write_bytes(bytes(range(256)) * 2000)
    bootstrap.shelf.add("yealink", image)
    (tmp_path / "firmware" / "yealink" / "notes.txt").write_text("not an image")
    status, body, headers = await get(bootstrap, image.name, T46)
    assert (status, body) == (200, image.read_bytes())
    assert headers["Content-Length"] == "512000"
    assert (await get(bootstrap, image.name, T46, "HEAD"))[0] == 200
    for name in ("notes.txt", "T46G-28.86.0.20.rom.sha256", "other.rom"):
        assert (await get(bootstrap, name, T46))[0] == 404


@pytest.mark.asyncio
async def test_a_range_beyond_the_end_is_told_the_size(bootstrap: Bootstrap, tmp_path: Path) -> None:
    image = tmp_path / "T46G-28.86.0.20.rom"
    image.write_bytes(bytes(1000))
    bootstrap.shelf.add("yealink", image)
    async with aiohttp.ClientSession() as session:
        for beyond in ("bytes=1000-", "bytes=5000-6000"):
            async with session.get(bootstrap.url + image.name, headers={"Range": beyond}) as response:
                assert (response.status, response.headers["Content-Range"]) == (416, "bytes */1000")
        async with session.get(bootstrap.url + image.name, headers={"Range": "bytes=990-"}) as response:
            assert (response.status, response.headers["Content-Range"]) == (206, "bytes 990-999/1000")


def names_of_devices() -> list[tuple[str, str]]:
    """Every file that is one device's, of every dialect, as its owner would ask for it."""
    found = set()
    for driver in DRIVERS:
        mac = Mac(sorted(driver.manifest.ouis)[0] + "aabbcc")
        for model in driver.manifest.models.values():
            for pattern in driver.manifest.files[model.dialect]:
                name = pattern.format(mac=mac, code=model.code, part=model.part_number)
                if mac in name:
                    found.add((name, T46 if driver.manifest.name == "yealink" else VVX))
    return sorted(found)


@pytest.mark.asyncio
async def test_no_file_of_a_device_is_served(bootstrap: Bootstrap) -> None:
    names = names_of_devices()
    assert len(names) > 5
    for name, agent in names:
        for spelling in (name, name.upper(), f"{name}?x=1"):
            status, body, _ = await get(bootstrap, spelling, agent)
            assert (status, body) == (404, b""), name


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "path", ["", "/", "ca.pem/", "./ca.pem", "t/abc/ca.pem", "%63a.pem", "a" * 4000, "health", "CA.PEM"]
)
async def test_anything_else_is_not_found(bootstrap: Bootstrap, path: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(URL(bootstrap.url + path, encoded=True)) as response:
        assert response.status == 404


@pytest.mark.asyncio
@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
async def test_nothing_can_be_sent_here(bootstrap: Bootstrap, method: str) -> None:
    status, body, headers = await get(
        bootstrap, "0004f2aabbcc-app.log", VVX, method, b"log" if method != "TRACE" else None
    )
    assert (status, body, headers["Allow"]) == (405, b"", "GET, HEAD")


@pytest.mark.asyncio
async def test_a_get_with_a_body_is_refused(bootstrap: Bootstrap) -> None:
    assert (await get(bootstrap, "ca.pem", data=b"x"))[0] == 400


def test_what_is_rendered_depends_on_nothing_but_the_server() -> None:
    """Same bytes for every caller's Mac in the User-Agent: there is nobody's data in them."""
    edges = [BootstrapEdge(drivers(), FirmwareShelf(Path("/nowhere")), "", BASE, ignore) for _ in range(2)]
    agents = [VVX, VVX.replace("0004f2aabbcc", "0004f2ddeeff")]
    bodies = {edge._find("000000000000.cfg", agent)[1] for edge in edges for agent in agents}
    assert len(bodies) == 1


def test_phones_of_a_model_and_release_share_one_rendering() -> None:
    edge = BootstrapEdge(DRIVERS, FirmwareShelf(Path("/nowhere")), "", BASE, ignore)
    for number in range(20):
        agent = f"Yealink SIP-T46G 28.83.0.{number} 00:15:65:4a:a9:{number:02x}"
        assert edge._find("y000000000028.cfg", agent)[1]
    assert edge._rendered.cache_info().misses == 1
    old = edge._find("y000000000028.cfg", T46.replace("28.83.", "28.72."))[1]
    assert old != edge._find("y000000000028.cfg", T46)[1], "firmware before 81 is spoken to in its own dialect"


def test_names_that_are_no_file_drive_nothing_out() -> None:
    edge = BootstrapEdge(DRIVERS, FirmwareShelf(Path("/nowhere")), "", BASE, ignore)
    edge._find("y000000000028.cfg", T46)
    for number in range(2000):
        with pytest.raises(NoSuchFile):
            edge._find(f"y99999{number:07d}.cfg", f"Yealink SIP-T46G 28.{number}.0.1 00:15:65:4a:a9:37")
    assert edge._rendered.cache_info().currsize == 1


@settings(max_examples=examples(200), deadline=None)
@given(
    path=st.one_of(
        st.text(max_size=40), st.from_regex(r"[0-9a-f]{12}(-[a-z]{3,8})?\.(cfg|xml|boot|log)", fullmatch=True)
    ),
    agent=st.one_of(st.text(max_size=60), st.sampled_from([VVX, T46])),
)
def test_whatever_is_found_is_marked_as_public(path: str, agent: str) -> None:
    edge = BootstrapEdge(DRIVERS, FirmwareShelf(Path("/nowhere")), "", BASE, ignore)
    try:
        kind, body, _ = edge._find(path, agent)
    except NoSuchFile:
        return
    assert kind in {FileKind.MASTER, FileKind.BOOT, FileKind.COMMON}
    assert isinstance(body, bytes)
    files = [file for driver in DRIVERS if (file := driver.match(path, agent))]
    assert any(not file.secret and file.mac is None for file in files)
