"""HTTP in the clear, and lines: what is answered in place of a configuration, and who answers a registration how."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from expecting import Expected, shown
from neighbours import GOOD, bad_neighbour
from office import HOUSE_IP, NAME, PHONE, SERVER_IP, STRANGER_IP, office
from rounds import OWN, Scene, play

FILE = f"{PHONE}.cfg"
GOES_WRONG = Path(__file__).with_name("answerer.py")
PLUG = Path(__file__).with_name("plug_and_play.py")
REGISTER = Path(__file__).with_name("register.xml")
PUT = ("-T", str(REGISTER))
AGENT = "FileTransport PolyVVX-VVX_411-UA/6.4.3.5018 Type/Application"


def asks(path: str = "", *more: str, file: str = FILE) -> list[str]:
    return [
        "curl",
        "-s",
        "-m",
        "8",
        "-A",
        AGENT,
        "--resolve",
        f"{NAME}:80:{GOOD}",
        *more,
        f"http://{NAME}/{path}{file}",
    ]


def odd(port: int, *more: str, file: str = FILE) -> list[str]:
    """Of the server that answers as none should."""
    known = ["--resolve", f"{NAME}:{port}:{SERVER_IP}", "-A", AGENT, "-o", "/dev/null"]
    return ["curl", "-s", "-m", "8", *known, *more, f"http://{NAME}:{port}/{file}"]


def registers(port: int) -> list[str]:
    """And again after half a second, a second and two, when nobody answers."""
    bounds = ["-m", "1", "-max_retrans", "4", "-timeout", "3s", "-nostdin"]
    return ["sipp", "-sf", str(REGISTER), "-i", OWN, *bounds, f"{SERVER_IP}:{port}"]


def once(name: str, row: int | None, who: str, *runs: Sequence[str], says: str = "", **more: object) -> Scene:
    return Scene(name, Expected(row, who, says, **more), runs)


SCENES = [
    once("http_good", None, "", asks()),
    once("http_sent_to_portal", 34, "network", asks("portal/"), says="302", sure=True),
    once("http_page", 34, "network", asks("page/"), says="text/html", sure=True),
    once("http_page_as_text", 34, "network", odd(8108), in_the_body=True, sure=True),
    once("http_denied_by_proxy", 34, "network", asks("denied/"), says="403"),
    once("http_wrong_password", 61, "server", *[asks("secret/", "-u", "phone:wrong")] * 2, says="401", sure=True),
    once("http_no_file", 62, "server", asks("nowhere/"), says="404", sure=True),
    once("http_busy", 71, "server", asks("busy/"), says="503"),
    once("http_broken", 84, "server", asks("broken/"), says="500", sure=False),
    once("http_nothing_behind", 88, "network", asks("behind/"), says="502", sure=True),
    once("http_short", 65, "network", odd(8101), says="the server has ended it", sure=True),
    once("http_chunks_cut", 65, "network", odd(8102), says="the server has ended it", sure=True),
    once("http_firmware_cut", 73, "network", asks(), odd(8103, file="T46S.rom"), says="T46S.rom", sure=True),
    Scene("http_phone_killed", Expected(65, "network", "the phone has ended it"), [odd(8110)], killed_after=0.4),
    once("http_packed", 89, "phone", odd(8104), sure=True),
    once("http_packed_silently", 89, "phone", odd(8105), in_the_body=True, sure=True),
    once("http_of_another", 64, "phone", odd(8106, file=f"cfg{PHONE}.xml"), says="0004f2000099", in_the_body=True),
    once("http_ciphertext", 66, "phone", *[odd(8107)] * 3, in_the_body=True, sure=False),
    once("http_loop", 68, "none", *[asks()] * 6, says="fetched 6 times"),
    once("http_upload_refused", 67, "server", asks(), asks("", *PUT, file=f"{PHONE}-phone.cfg"), says="405"),
    once("sip_asked_again", 74, "none", asks(), registers(5071), says="401"),
    once("sip_forbidden", 74, "none", asks(), registers(5072), says="403"),
    once("sip_not_found", 74, "none", asks(), registers(5073), says="404"),
    once("sip_unavailable", 90, "network", asks(), registers(5074), says="503"),
    Scene("sip_port_closed", Expected(90, "network", "port unreachable"), [asks(), registers(5079)], killed_after=4.0),
    Scene("sip_no_answer", Expected(90, "network", "no answer"), [asks(), registers(5075)], killed_after=4.0),
    once("pnp_two", 70, "none", [sys.executable, str(PLUG), "phone", OWN], says="http://rogue.example/"),
]  # fmt: skip


@pytest.fixture(scope="module")
def tapes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("http")
    with (
        office(place / "office") as here,
        bad_neighbour(here.server, place),
        here.server.program(sys.executable, GOES_WRONG, SERVER_IP, until="ready"),
        here.house.program(sys.executable, PLUG, "pbx", HOUSE_IP, f"https://{NAME}/", until="ready"),
        here.stranger.program(sys.executable, PLUG, "pbx", STRANGER_IP, "http://rogue.example/", until="ready"),
    ):
        return play(here, SCENES, place / "tapes", place)


@pytest.mark.slow
@pytest.mark.parametrize("one", SCENES, ids=[one.name for one in SCENES])
def test_the_first_line_names_the_cause(tapes: dict[str, Path], one: Scene) -> None:
    shown(one.name, one.expected, tapes[one.name])
