"""Golden files, input and expected output in one: ``python tests/vendors/regenerate.py [PATH...]`` rewrites outputs.

A case is TOML (mac, model, file, base_url, upgrade_only, user_agent, [[line]], [values], [raw], [activation]), a line
of ten dashes, and the bytes the driver must give, or ``error: <kind>``. The vendor is the name of the folder below
golden/. With [activation] (site, and settings of the server by name) it is what a waiting phone is offered.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from provisioner.activation_offer import Moment, Offers
from provisioner.errors import NoSuchFile, ProvisionerError
from provisioner.layers import merge, resolve
from provisioner.model import ConfigLayer, Line, Mac, ResolvedConfig, Scope
from provisioner.neutral import parse_value
from provisioner.settings import Settings
from provisioner.vendor import VendorDriver
from provisioner.vendors import drivers

GOLDEN = Path(__file__).with_name("golden")
OUR_CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
RULE = "----------\n"


@dataclass(frozen=True)
class Case:
    path: Path
    head: str
    expected: str

    @property
    def vendor(self) -> str:
        return self.path.relative_to(GOLDEN).parts[0]


def cases() -> list[Path]:
    return sorted(GOLDEN.rglob("*.txt"))


def read(path: Path) -> Case:
    head, rule, expected = path.read_bytes().decode("utf-8").partition(RULE)
    return Case(path, head, expected if rule else "")


def produce(case: Case, by_name: Mapping[str, VendorDriver]) -> str:
    """What the driver gives today for the case's input."""
    document = tomllib.loads(case.head)
    driver = by_name[case.vendor]
    try:
        file = driver.match(document["file"], document.get("user_agent", ""))
        if file is None:
            raise NoSuchFile("no file of this vendor has this name")
        return driver.render(file, config(driver, document)).decode("utf-8")
    except ProvisionerError as error:
        return f"error: {error.kind}\n"


def config(driver: VendorDriver, document: Mapping[str, object]) -> ResolvedConfig:
    entries = {name: parse_value(name, value) for name, value in document.get("values", {}).items()}
    layer = ConfigLayer(Scope.DEVICE, str(document["mac"]), entries, document.get("raw", {}))
    found = resolve(
        Mac.parse(str(document["mac"])),
        driver.manifest.models[str(document["model"])],
        [Line(**row) for row in document.get("line", [])],
        merge([layer]),
        upgrade_only=bool(document.get("upgrade_only", False)),
        base_url=str(document.get("base_url", "https://prov.example.net:8443/")),
    )
    given = document.get("activation")
    return offered(found, **given) if isinstance(given, dict) else found


def offered(config: ResolvedConfig, site: str = "", **settings: object) -> ResolvedConfig:
    """What a device with this configuration is offered at a certain time, with a certain key."""
    named = {"server_name": "prov.example.net", **{f"activation_{name}": one for name, one in settings.items()}}
    offers = Offers(Settings(data=Path("nowhere"), **named), lambda: bytes(32), OUR_CA)  # type: ignore[arg-type]  # types are the cases'
    return offers.configuration(config, Moment(1_795_300_000.0, bytes(8)), site=site, known=True)


def main(arguments: list[str]) -> int:
    by_name = {one.manifest.name: one for one in drivers()}
    changed = 0
    for path in [Path(argument).resolve() for argument in arguments] or cases():
        case = read(path)
        now = produce(case, by_name)
        if now != case.expected:
            path.write_bytes(f"{case.head}{RULE}{now}".encode())
            changed += 1
            sys.stdout.write(f"rewritten: {path.relative_to(GOLDEN)}\n")
    sys.stdout.write(f"{changed} changed; read the difference before you keep it\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
