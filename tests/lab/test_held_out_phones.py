"""Cases that no rule was written by: other phones' libraries, other methods, other answers. Run last."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from expecting import HELD_OUT, Expected, shown
from gatekeeper import Case, Doors, doors
from neighbours import EXPIRED, GOOD, OTHER_NAME, bad_neighbour
from office import NAME, PHONE, office
from rounds import FILES, Scene, play

FILE = f"{PHONE}.cfg"
_PYTHON = f"""
import ssl, socket, sys
context = ssl.create_default_context(cafile=sys.argv[2])
with socket.create_connection((sys.argv[1], 443), timeout=8) as plain:
    context.wrap_socket(plain, server_hostname="{NAME}").sendall(b"GET /{FILE} HTTP/1.0\\r\\n\\r\\n")
"""
PYTHON = (sys.executable, "-c", _PYTHON)
OLD_TLS = "--ciphers=NORMAL:-VERS-TLS1.3"


def wget(address: str, *more: str, trusts: str = "root") -> tuple[str, ...]:
    """Debian's is made with GnuTLS, whose ways are other ones than OpenSSL's."""
    known = ("--ca-certificate", f"{FILES}{trusts}.pem", "-e", "use_proxy=no", "--tries=1", "--timeout=8")
    by_name = f"{address} {NAME}"
    asks = f'echo "{by_name}" > /etc/hosts; exec wget -q -O /dev/null "$@"'
    return ("unshare", "--mount", "sh", "-c", f"mount --bind {FILES}hosts /etc/hosts; {asks}", "wget", *known, *more,
            f"https://{NAME}/{FILE}")  # fmt: skip


def plain(path: str) -> tuple[str, ...]:
    return ("busybox", "wget", "-q", "-O", "/dev/null", f"http://{GOOD}/{path}/{FILE}")


# What TLS 1.3 hides cannot be told: GnuTLS says nothing when it refuses, OpenSSL has one alert for a name that differs
# and a clock that is wrong. There the first line is "very likely", and names the others as look-alikes.
SCENES = [
    Scene("gnutls_unknown_ca_12", Expected(39, "phone"), [wget(GOOD, OLD_TLS, trusts="stranger")]),
    Scene("gnutls_unknown_ca_13", Expected(43, "phone", sure=False), [wget(GOOD, trusts="stranger")]),
    Scene("gnutls_expired", Expected(42, "phone"), [wget(EXPIRED, OLD_TLS)]),
    Scene("python_wrong_name_13", Expected(25, "phone", sure=False), [(*PYTHON, OTHER_NAME, f"{FILES}root.pem")]),
    Scene("portal_says_511", Expected(34, "network"), [plain("sign-in")]),
    Scene("proxy_wants_password", Expected(34, "network"), [plain("proxy")]),
]  # fmt: skip
PEAP = {
    "eap": "PEAP",
    "identity": '"phone"',
    "password": '"wrong"',
    "phase2": '"auth=MSCHAPV2"',
    "client_cert": "",
    "private_key": "",
}
CASES = [
    Case("peap_wrong_password", 8, supplicant=PEAP, users='"phone" PEAP\n"phone" MSCHAPV2 "right" [2]'),
    Case("eap_tls13_phone_refuses", 86, who="phone", trusts="strange-ca", tls="[ENABLE-TLSv1.3]",
         supplicant={"phase1": '"tls_disable_tlsv1_3=0"'}),
]  # fmt: skip


@pytest.fixture(scope="module")
def tapes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("held_out")
    (place / "hosts").write_text("")
    with office(place / "office") as here, bad_neighbour(here.server, place):
        return play(here, SCENES, place / "tapes", place)


@pytest.fixture(scope="module")
def doorway(tmp_path_factory: pytest.TempPathFactory) -> Doors:
    with doors(tmp_path_factory.mktemp("held_out_doors"), CASES) as made:
        made.play()
    return made


@pytest.mark.slow
@pytest.mark.parametrize("one", SCENES, ids=[one.name for one in SCENES])
def test_the_first_line_names_the_cause(tapes: dict[str, Path], one: Scene) -> None:
    shown(one.name, one.expected, tapes[one.name], into=HELD_OUT)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=[one.name for one in CASES])
def test_the_first_line_says_who_is_not_let_in(doorway: Doors, case: Case) -> None:
    shown(case.name, Expected(case.row, case.who), doorway.path(case), into=HELD_OUT)
