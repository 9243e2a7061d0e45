"""802.1X by the programs that do it: hostapd, with a RADIUS server inside, as the switch; wpa_supplicant as the phone.

Each case has a cable of its own, and all go on at once: most of the time somebody waits for somebody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chain_maker import One, certificate
from network import Host, Laboratory, until
from office import PHONE, colons, documented

PATIENCE: Final = 40.0
"""s: the phone asks again after one; many times that on a slow machine."""
_EAPOL, _DISCOVER = b"\x88\x8e", b"\x63\x82\x53\x63\x35\x01\x01"
"""Its Ethertype; the cookie of DHCP and what kind of message it is."""
_SWITCH: Final = {
    "driver": "wired", "ieee8021x": "1", "eap_server": "1", "use_pae_group_addr": "1", "logger_stdout": "-1",
    "logger_stdout_level": "0",
}  # fmt: skip
_PHONE: Final = {"key_mgmt": "IEEE8021X", "eap": "TLS", "identity": f'"{PHONE.upper()}"', "eapol_flags": "0"}


@dataclass(frozen=True)
class Case:
    """Who has which certificate, and how it is known to be over."""

    name: str
    row: int | None
    says: str = ""
    """What the first line says beside the row's title."""
    who: str = "network"
    over: str = "EAP-FAILURE"
    """What wpa_supplicant says then; without one, ``asked`` does it."""
    phone: str = "phone"
    """Whose certificate the phone has."""
    trusts: str = "radius-ca"
    radius: str = "radius"
    """Whose certificate the server has."""
    knows: str = "factory"
    """The CA that it takes phones from."""
    supplicant: Mapping[str, str] | None = field(default_factory=dict)
    """More of the phone's network; None: it has no 802.1X at all."""
    switch: bool = True
    """There is one that asks."""
    users: str = "* TLS"
    tls: str = "[ENABLE-TLSv1.2]"
    """Flags of hostapd's."""


def certificates(place: Path) -> None:
    """Two CAs, and what goes wrong with what they sign; a stranger's CA."""
    radius, factory, strange = (certificate(name, ca=True) for name in ("RADIUS CA", "Factory CA", "Stranger CA"))
    made = {
        "radius-ca": radius, "factory": factory, "strange-ca": strange,
        "radius": certificate("radius.example.net", radius),
        "radius-expired": certificate("radius.example.net", radius, days=(-400, -2)),
        "phone": certificate(PHONE.upper(), factory),
        "phone-expired": certificate(PHONE.upper(), factory, days=(-4000, -300)),
        "phone-strange": certificate(PHONE.upper(), strange),
    }  # fmt: skip
    for name, one in made.items():
        _write(place / name, one)


def _write(path: Path, one: One) -> None:
    path.with_suffix(".pem").write_bytes(one.pem)
    path.with_suffix(".key").write_bytes(one.key_pem)


@dataclass
class Doors:
    """Cables with a gatekeeper each; ``port`` of a case is its interface at the phone."""

    lab: Laboratory
    place: Path
    phone: Host
    switch: Host
    cases: Sequence[Case]

    def port(self, case: Case) -> str:
        return f"p{self.cases.index(case)}"

    def path(self, case: Case) -> Path:
        return self.place / f"{case.name}.pcap"

    def play(self) -> None:
        """All of them, until each is over."""
        for case in self.cases:
            number = self.cases.index(case)
            self.lab.cable(
                self.phone, self.port(case), self.switch, f"s{number}", mac=colons(PHONE), far=documented(number)
            )
        with ExitStack() as stack:
            for case in self.cases:
                stack.enter_context(self.phone.capture(self.port(case), self.path(case)))
            self._gatekeepers(stack)
            self._phones(stack)

    def _gatekeepers(self, stack: ExitStack) -> None:
        asked = [case for case in self.cases if case.switch]
        files = [self._gatekeeper(case) for case in asked]
        program = stack.enter_context(self.switch.program("hostapd", *files))
        for case in asked:
            program.says(f"s{self.cases.index(case)}: AP-ENABLED")

    def _gatekeeper(self, case: Case) -> Path:
        users = self.place / f"{case.name}.users"
        users.write_text(case.users + "\n")
        said = {
            "interface": f"s{self.cases.index(case)}", **_SWITCH, "eap_user_file": users, "tls_flags": case.tls,
            "ca_cert": self.place / f"{case.knows}.pem", "server_cert": self.place / f"{case.radius}.pem",
            "private_key": self.place / f"{case.radius}.key",
        }  # fmt: skip
        path = self.place / f"{case.name}.hostapd"
        path.write_text("".join(f"{name}={value}\n" for name, value in said.items()))
        return path

    def _phones(self, stack: ExitStack) -> None:
        able = [case for case in self.cases if case.supplicant is not None]
        words = [["-i", self.port(case), "-D", "wired", "-c", self._supplicant(case)] for case in able]
        joined = [word for number, each in enumerate(words) for word in (["-N"] if number else []) + each]
        program = stack.enter_context(self.phone.program("wpa_supplicant", "-t", *joined))
        for case in self.cases:
            if case.supplicant is None:
                words = ["-f", "-n", "-i", self.port(case), "-t", "9", "-T", "1", "-s", "/bin/true"]
                stack.enter_context(self.phone.program("busybox", "udhcpc", *words))
        impatient = [case for case in able if not case.switch]
        for case in impatient:
            program.says(f"{self.port(case)}: Associated")
            self.phone.must("wpa_cli", "-p", self._control(case), "-i", self.port(case), "set", "EAPOL::startPeriod", 1)
        for case in able:
            if case.switch:
                program.says(f"{self.port(case)}: CTRL-EVENT-{case.over}", PATIENCE)
        for case in self.cases:
            if case.supplicant is None or not case.switch:
                until(lambda case=case: self._is_enough(case), lambda: "nobody asks", PATIENCE)

    def _is_enough(self, case: Case) -> bool:
        """The phone has asked twice in vain; hostapd itself asks again only after half a minute."""
        seen = self.path(case).read_bytes()
        return seen.count(_EAPOL) >= (1 if case.switch else 2) and (not case.switch or seen.count(_DISCOVER) >= 2)

    def _control(self, case: Case) -> Path:
        return self.place / f"{case.name}.wpa.d"

    def _supplicant(self, case: Case) -> Path:
        files = {
            "ca_cert": f"{case.trusts}.pem",
            "client_cert": f"{case.phone}.pem",
            "private_key": f"{case.phone}.key",
        }
        said = {**_PHONE, **{name: f'"{self.place / file}"' for name, file in files.items()}, **(case.supplicant or {})}
        lines = [f"  {name}={value}" for name, value in said.items() if value]
        head = [f"ctrl_interface={self._control(case)}", "ap_scan=0", "eapol_version=2"]
        path = self.place / f"{case.name}.wpa"
        path.write_text("\n".join([*head, "network={", *lines, "}", ""]))
        return path


@contextmanager
def doors(place: Path, cases: Sequence[Case]) -> Iterator[Doors]:
    """A phone and a switch, not yet cabled."""
    with Laboratory(place) as lab:
        certificates(place)
        made = Doors(lab, place, lab.host("phone"), lab.host("switch"), cases)
        for host in (made.phone, made.switch):
            host.knob("net.ipv6.conf.default.disable_ipv6", 1)
        yield made
