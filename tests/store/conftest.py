"""Every store test runs on SQLite and on a private PostgreSQL cluster."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import psycopg
import pytest
import pytest_asyncio
from effort import MEMORY

from provisioner.errors import Invalid
from provisioner.fleet.fleet import Fleet
from provisioner.model import DeviceFile, FactoryName, Model, PeerCert, ResolvedConfig
from provisioner.settings import Settings
from provisioner.store import migrations
from provisioner.store.database import Store, key_path
from provisioner.store.records import Recorder
from provisioner.store.secretbox import SecretBox, create_key
from provisioner.store.views import Views
from provisioner.vendor import Manifest


class FakeDriver:
    """A vendor with two models and its own idea of a parameter name."""

    def __init__(self, vendor: str, *models: Model) -> None:
        table = MappingProxyType({model.name: model for model in models})
        self.manifest = Manifest(vendor, vendor.title(), frozenset(), table, {})

    def identify(self, _cert: PeerCert) -> FactoryName:
        return FactoryName(None)

    def match(self, _path: str, _user_agent: str) -> DeviceFile | None:
        return None

    def render(self, _file: DeviceFile, _config: ResolvedConfig) -> bytes:
        return b""

    def resync_event(self, _model: Model, _reboot: bool) -> str:
        return "check-sync"

    def check_raw(self, name: str, _value: str) -> None:
        if not name.replace(".", "").isalnum():
            raise Invalid(name, "is no parameter name")


DRIVERS = {
    "poly": FakeDriver(
        "poly",
        Model("poly", "VVX 411", "vvx", "ucs", lines=12, min_firmware="5.9.4.3247"),
        Model("poly", "VVX 150", "vvx", "ucs", lines=2, refuses={"net.cdp": "it has no CDP"}),
    ),
    "yealink": FakeDriver("yealink", Model("yealink", "T46S", "t4", "81", lines=16)),
}


_HASTY = ("listen_addresses=", "fsync=off", "full_page_writes=off", "autovacuum=off", "shared_buffers=64MB")
"""What a cluster spares itself that nobody needs afterwards; each test's database lives too short to be vacuumed."""


def _postgres_bin() -> Path:
    found = shutil.which("initdb")
    candidates = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if not candidates:
        pytest.fail("PostgreSQL's initdb was not found: apt-get install postgresql")
    return candidates[0]


def _unprivileged() -> str | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """A PostgreSQL server of this test process; the URL without a database name."""
    programs, user = _postgres_bin(), _unprivileged()
    place = Path(tempfile.mkdtemp(prefix="pg-", dir=MEMORY if tempfile.gettempdir() == MEMORY else "/tmp"))
    place.chmod(0o711)
    if user:
        shutil.chown(place, user)
    options = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "cwd": place, **options}
    data = place / "data"
    subprocess.run([programs / "initdb", "-D", data, "-A", "trust", "-U", "tester", "-N"], **quiet)
    server = subprocess.Popen(
        [programs / "postgres", "-D", data, "-k", place, *(word for one in _HASTY for word in ("-c", one))],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=place,
        **options,
    )
    try:
        url = f"host={place} user=tester dbname=postgres"
        _wait_for(url, server)
        yield f"postgresql+psycopg://tester@/%s?host={place}"
    finally:
        server.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
        server.wait(20)
        shutil.rmtree(place, ignore_errors=True)


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            assert server.poll() is None, "postgres did not start"
            time.sleep(0.05)
        else:
            return
    pytest.fail("postgres did not answer within 15 s")


@pytest.fixture(scope="session")
def template(cluster: str) -> str:
    """A migrated database that each test's own is copied from."""
    _order(cluster, "CREATE DATABASE master_copy")
    migrations.upgrade(cluster % "master_copy")
    return cluster


def _order(cluster: str, statement: str) -> None:
    host = cluster.partition("host=")[2]
    with psycopg.connect(f"host={host} user=tester dbname=postgres", autocommit=True) as connection:
        connection.execute(statement)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database that each test's own is copied from."""
    path = tmp_path_factory.mktemp("template") / "provisioner.db"
    migrations.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty, migrated database, which goes when the test is over."""
    if request.param == "sqlite":
        path = shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path)
        yield f"sqlite+aiosqlite:///{path}"
        return
    cluster = request.getfixturevalue("template")
    name = f"t{uuid.uuid4().hex}"
    _order(cluster, f"CREATE DATABASE {name} TEMPLATE master_copy STRATEGY FILE_COPY")
    yield str(cluster % name)
    _order(cluster, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def box(tmp_path: Path) -> SecretBox:
    create_key(key_path(tmp_path))
    return SecretBox.load(key_path(tmp_path))


@pytest_asyncio.fixture
async def store(url: str, box: SecretBox, tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(url, box, tmp_path / "uploads") as opened:
        yield opened


@pytest.fixture
def drivers() -> Mapping[str, FakeDriver]:
    return DRIVERS


@pytest.fixture
def fleet(store: Store) -> Fleet:
    return Fleet(store, DRIVERS, actor="ann")


@pytest_asyncio.fixture
async def views(store: Store) -> AsyncIterator[Views]:
    opened = Views(store)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def counted() -> Counter[tuple[str, str]]:
    return Counter()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path)


@pytest.fixture
def make_recorder(store: Store, tmp_path: Path, counted: Counter[tuple[str, str]]) -> Callable[..., Recorder]:
    """A recorder with settings of the test's own choice."""

    def make(**chosen: int) -> Recorder:
        def count(name: str, label: str) -> None:
            counted[name, label] += 1

        return Recorder(store, Settings(data=tmp_path, **chosen), count, clock=lambda: 1000.0)

    return make
