"""µs per rendered file per vendor: one core, live rendering with its re-parse; full configurations and plain ones.

Every rendering is of another device (its own Mac, lines, secrets and keys) below the same shared layers, as in a
storm: what a driver keeps between devices helps here as it does there. Cold is a process's very first of the kind.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import record

from provisioner import pki
from provisioner.layers import merge, resolve
from provisioner.model import ConfigLayer, DeviceFile, FileKind, Line, Mac, Model, ResolvedConfig, Scope
from provisioner.neutral import SETTINGS, parse_value
from provisioner.vendor import VendorDriver
from provisioner.vendors import drivers

PLAIN = {"sip.server": "sip.example.net", "time.zone": "Europe/Berlin"}
FULL = {
    "sip.server": "sip1.example.net:5061",
    "sip.backup": "sip2.example.net:5061",
    "sip.transport": "tls",
    "sip.outbound_proxy": "sbc.example.net:5061",
    "sip.expiry": 900,
    "sip.srtp": "required",
    "sip.codecs": ["opus", "g722", "pcma", "pcmu", "g729"],
    "sip.dtmf": "rfc2833",
    "voicemail.number": "*97",
    "time.ntp": "ntp.example.net",
    "time.zone": "America/New_York",
    "language": "de-DE",
    "password.admin": "80315726",
    "password.user": "4711",
    "web.access": "https",
    "net.vlan": 20,
    "net.lldp": True,
    "net.cdp": True,
    "net.dot1x.mode": "md5",
    "net.dot1x.identity": "phones",
    "net.dot1x.password": "Dot1x-secret",
    "syslog.server": "198.51.100.9",
    "syslog.level": 5,
    "dialplan.rules": [{"match": "0x.T", "prefix": "9"}, {"match": "[2-8]xxx"}, {"match": "*xx"}],
    "dialplan.timeout": 5,
    "emergency.numbers": ["112", "110", "911"],
    "hotline.number": "9000",
    "hotline.delay": 3,
    "phonebook.url": "https://book.example.net/all.xml",
    "phonebook.name": "Company",
    "poll.enabled": True,
    "poll.period": 86400,
    "poll.from": "01:30",
    "poll.to": "04:30",
    "storm.boot_delay": 30,
    "storm.retry_delay": 90,
    "storm.retry_attempts": 5,
    "firmware.version": "6.4.7.4560",
    "firmware.url": "https://fw.example.net/sip.ld",
    "ca.custom": "",
    "log.upload": True,
}
"""Every neutral setting; keys come with each device, and the CA is made below."""


@dataclass(frozen=True)
class Case:
    """One file of one kind of device."""

    vendor: str
    model: str
    kind: FileKind
    lines: int = 1
    keys: int = 0
    full: bool = False
    goal_us: float | None = None

    @property
    def title(self) -> str:
        settings = "every setting" if self.full else "plain"
        return f"{self.vendor} {self.model} {self.kind} file, {self.lines} lines, {self.keys} keys, {settings}"


CASES = (
    Case("poly", "VVX 601", FileKind.DEVICE, 12, 40, full=True, goal_us=150),
    Case("poly", "VVX 411", FileKind.DEVICE, goal_us=150),
    Case("poly", "VVX 411", FileKind.MASTER),
    Case("poly", "OBi302", FileKind.DEVICE, 2, full=True),
    Case("yealink", "T46S", FileKind.DEVICE, goal_us=60),
    Case("yealink", "T46S", FileKind.DEVICE, 12, 15, full=True),
    Case("yealink", "T46S", FileKind.COMMON, goal_us=60),
    Case("yealink", "T46S", FileKind.BOOT, goal_us=60),
    Case("yealink", "W60B", FileKind.DEVICE, 8),
)


def shared(case: Case, model: Model) -> ConfigLayer:
    """What all devices of the case have in common; settings that the model refuses are left out, as fleet would."""
    values = dict(FULL, **{"ca.custom": CUSTOM_CA}) if case.full else PLAIN
    if case.full and (forgotten := set(SETTINGS) - set(FULL) - {"keys"}):
        raise SystemExit(f"a full configuration lacks {', '.join(sorted(forgotten))}")
    kept = {name: value for name, value in values.items() if name not in model.refuses}
    return ConfigLayer(Scope.DEFAULTS, "", {name: parse_value(name, value) for name, value in kept.items()})


def configs(driver: VendorDriver, case: Case) -> Iterator[ResolvedConfig]:
    """Devices without end, each with a Mac, secrets, names and keys of its own."""
    model = driver.manifest.models[case.model]
    common = merge([shared(case, model)])
    oui = min(driver.manifest.ouis)
    for number in itertools.count(1):
        lines = [line_of(number, position) for position in range(1, case.lines + 1)]
        merged = merge([own(case, number)], onto=common) if case.keys else common
        mac = Mac(f"{oui}{number:06x}")
        yield resolve(mac, model, lines, merged, base_url="https://prov.example.net:8443/")


def line_of(number: int, position: int) -> Line:
    extension = f"{number}{position:02d}"
    return Line(position, extension, extension, f"S3cr-et-{number}-{position}", f"Person {extension}", extension)


def own(case: Case, number: int) -> ConfigLayer:
    """A device's own keys, after those of its lines."""
    keys = [
        {"position": case.lines + one, "kind": "blf", "value": f"{number}{one:02d}", "label": f"Colleague {one}"}
        for one in range(1, case.keys + 1)
    ]
    return ConfigLayer(Scope.DEVICE, "", {"keys": parse_value("keys", keys)})


def file_of(driver: VendorDriver, config: ResolvedConfig, kind: FileKind) -> DeviceFile:
    """The model's file of a kind that its driver makes: with the device's Mac where there is such a one."""
    model = config.model
    names = [
        pattern.format(mac=config.mac, code=model.code, part=model.part_number)
        for pattern in driver.manifest.files[model.dialect]
    ]
    files = [driver.match(name, "") for name in names if model.code or "{code}" not in name]
    wanted = [one for one in files if one is not None and one.kind == kind and not one.upload]
    if kind is FileKind.MASTER:
        wanted = [one for one in wanted if one.mac is None]
    if not wanted:
        raise SystemExit(f"{model.name} has no {kind} file")
    return wanted[0]


def warm(case: Case, runs: int, number: int) -> dict[str, object]:
    """The median of several runs, each over devices that were not seen before."""
    driver = {one.manifest.name: one for one in drivers()}[case.vendor]
    source = configs(driver, case)
    for config in itertools.islice(source, 50):
        size = len(driver.render(file_of(driver, config, case.kind), config))
    taken = []
    for _ in range(runs):
        ready = [(file_of(driver, config, case.kind), config) for config in itertools.islice(source, number)]
        begun = time.process_time_ns()
        for file, config in ready:
            driver.render(file, config)
        taken.append((time.process_time_ns() - begun) / number / 1000)
    return {
        "case": case.title,
        "bytes": size,
        "us": round(statistics.median(taken), 1),
        "best_us": round(min(taken), 1),
    }


def cold(case: Case) -> float:
    """The first rendering of a process that has only loaded its drivers: templates are compiled, caches are empty."""
    driver = {one.manifest.name: one for one in drivers()}[case.vendor]
    config = next(configs(driver, case))
    file = file_of(driver, config, case.kind)
    begun = time.process_time_ns()
    driver.render(file, config)
    return (time.process_time_ns() - begun) / 1000


def cold_elsewhere(index: int) -> float:
    """``cold`` in a process of its own, the median of three."""
    command = [sys.executable, __file__, "--cold", str(index)]
    found = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(3)]
    return statistics.median(float(one) for one in found)


def custom_ca() -> str:
    """A CA of the operator's own, as large as such are."""
    with tempfile.TemporaryDirectory() as directory:
        return pki.make_factory("poly", Path(directory)).root_pem.read_text()


CUSTOM_CA = custom_ca() if __name__ == "__main__" else ""


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--files", type=int, default=200, help="a run")
    parser.add_argument("--cold", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=None)
    args = parser.parse_args()
    if args.cold is not None:
        print(cold(CASES[args.cold]))
        return
    rows = []
    for index, case in enumerate(CASES):
        row = warm(case, args.runs, args.files) | {"cold_us": round(cold_elsewhere(index)), "goal_us": case.goal_us}
        rows.append(row)
        goal = f"  (goal {case.goal_us})" if case.goal_us else ""
        print(
            f"{case.title:66}{row['bytes']:>7} bytes {row['us']:>7} µs, cold {row['cold_us']:>6} µs{goal}", flush=True
        )
    record.keep("render", f"bench/render.py --runs {args.runs} --files {args.files}", {"rows": rows}, args.output)


if __name__ == "__main__":
    main()
