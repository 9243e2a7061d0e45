"""Make DATA an installation: directory, settings, key, database, certificates. What is there already stays as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Final

from provisioner import settings
from provisioner.errors import Conflict, Invalid, Unusable
from provisioner.neutral import parse_host
from provisioner.settings import Settings, knobs
from provisioner.store import migrations
from provisioner.store.database import key_path
from provisioner.store.secretbox import SecretBox, create_key
from provisioner.vendors import drivers

SETTINGS_FILE: Final = "provisioner.toml"
_DIRECTORIES: Final = {
    "firmware": "images, below the vendor's name: firmware/poly/...",
    "templates": "templates used instead of the shipped ones, below the vendor's name",
    "trust": "factory CAs trusted beside the shipped ones; `provisioner certs trust` writes here",
    "uploads": "what devices have sent, sealed",
}
_HEAD: Final = """\
# Settings of the provisioning server. Everything that is commented out has the value shown.
# PROVISIONER_<TABLE>_<NAME> in the environment wins over this file. `kill -HUP` makes a running server read
# certificates, templates and trusted CAs again; a change in this file takes a restart.
# Each table stands here once: write a setting below the [header] that is there, not below a second one.
"""


def init(data: Path, name: str = "", given: Mapping[str, object] | None = None) -> tuple[str, ...]:
    """Make what is missing and say what was made; ``name`` is the host name phones will use.

    ``given``: what else a new settings file shall say; one that is there stays as it is.
    """
    made = [*_directories(data), *_settings_file(data, name, given or {})]
    configured = settings.load(data)
    for step in (_key, _database, _certificates):
        made += step(configured)
    return tuple(made)


def _directories(data: Path) -> Iterator[str]:
    try:
        yield from _made_directories(data)
    except OSError as error:
        raise Unusable(f"cannot make {error.filename or data}: {error.strerror}") from error


def _made_directories(data: Path) -> Iterator[str]:
    if not data.exists():
        data.mkdir(mode=0o700, parents=True)
        yield f"{data}: only its owner may enter"
    if not data.is_dir():
        raise Unusable(f"{data} is not a directory; --data names the one for this installation")
    for directory in (*_DIRECTORIES, *(f"{kind}/{one}" for kind in ("firmware", "templates") for one in vendors())):
        (data / directory).mkdir(mode=0o700, exist_ok=True)


def vendors() -> tuple[str, ...]:
    """The vendors that there are drivers for."""
    return tuple(driver.manifest.name for driver in drivers())


def _settings_file(data: Path, name: str, given: Mapping[str, object]) -> Iterator[str]:
    path = data / SETTINGS_FILE
    if path.exists():
        if name and name != settings.load(data).server_name:
            raise Unusable(f"{path} is there already; change server.name in it, then remove tls/ and run init again")
        return
    try:
        if name and not parse_host(name):
            raise ValueError("must not be empty")
    except ValueError as error:
        raise Invalid("name", str(error)) from error
    path.write_text(settings_text({**given, **({"server.name": name} if name else {})}), encoding="utf-8")
    path.chmod(0o600)
    yield f"{path}: the settings, each with its reason"


def settings_text(given: Mapping[str, object] | None = None) -> str:
    """The settings file of a new installation: every knob with its unit and why, commented out where none is given."""
    given = given or {}
    parts = [_HEAD]
    for table, members in groupby(knobs(), key=lambda one: one[0].partition(".")[0]):
        parts.append(f"\n[{table}]")
        for full, knob in members:
            value = given.get(full, list(knob.default) if isinstance(knob.default, tuple) else knob.default)
            line = f"{full.partition('.')[2]} = {json.dumps(value)}"
            parts.append(
                f"# {knob.metadata['why']} ({knob.metadata['unit']})\n{line if full in given else '# ' + line}"
            )
    return "\n".join(parts) + "\n"


def _key(configured: Settings) -> Iterator[str]:
    """A database without its key is a loss to repair, not a new installation to make."""
    path = key_path(configured.data)
    if not path.exists() and migrations.current(configured.database_url):
        raise Unusable(
            f"the database is there but its key {path} is missing: put the key back from its copy. "
            "A new key could not open a single secret in it"
        )
    if path.exists():
        SecretBox.load(path)
        return
    create_key(path)
    yield f"{path}: the key of all secrets; keep a copy apart from the database's"


def _database(configured: Settings) -> Iterator[str]:
    before = migrations.current(configured.database_url)
    if before == migrations.head():
        return
    version = migrations.upgrade(configured.database_url)
    yield f"the database, schema version {version}" + (f" (was {before})" if before else "")


def ca_file(data: Path) -> Path:
    """The CA of the server's own certificates, which phones are given."""
    return data / "tls" / "ca.pem"


def trusted_ca(data: Path, given: Path | None, *, insecure: bool) -> Path | None:
    """Whom a simulated phone believes: the CA given, else the installation's own where there is one and it is asked."""
    own = ca_file(data)
    return given if given or insecure or not own.is_file() else own


def _certificates(configured: Settings) -> Iterator[str]:
    """New ones only where there are none at all: another CA would lock out every phone that knows the old one."""
    wanted = [configured.data / name for name in configured.tls_certificates]
    missing = [path for path in wanted if not path.exists()]
    if not missing:
        return
    if len(missing) < len(wanted) or ca_file(configured.data).exists() or any(_is_elsewhere(one) for one in missing):
        raise Unusable(
            f"{', '.join(map(str, missing))} is missing: put it back, name another in tls.certificates, or run "
            "`provisioner certs renew-server` for new ones of the same CA. For a new CA, which phones do not know, "
            f"remove {ca_file(configured.data).parent} first"
        )
    from provisioner.pki import make_server  # only those who make certificates wait for what makes them

    files = make_server(ca_file(configured.data).parent, configured.server_name)
    yield f"{files.ca.parent}: a CA and certificates for {configured.server_name}, RSA-2048 and P-256"


def renew_server_certificates(configured: Settings) -> tuple[Path, ...]:
    """New server certificates of the CA that phones know already; refused where they are not ours to replace."""
    from provisioner.pki import renew_server  # as above

    wanted = [configured.data / name for name in configured.tls_certificates]
    if foreign := [path for path in wanted if _is_elsewhere(path)]:
        raise Conflict(f"{', '.join(map(str, foreign))} was not made here: renew it where it comes from")
    return renew_server(ca_file(configured.data).parent, configured.server_name)


def _is_elsewhere(path: Path) -> bool:
    return path.name not in {"server-rsa.pem", "server-ec.pem"} or path.parent.name != "tls"
