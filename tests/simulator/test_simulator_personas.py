"""The simulator's own table, phones outside it, and the report for people and scripts."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from provisioner.errors import Invalid, NotFound
from provisioner.model import Mac
from provisioner.simulator import (
    BootReport,
    Outcome,
    RegisteredLine,
    Step,
    as_json,
    as_text,
    load_persona,
    make_persona,
    personas,
    simulate_boot,
)
from provisioner.simulator.report import digest_of
from provisioner.vendors import drivers

MAC = Mac.parse("0004f2aabbcc")
POLY = re.compile(
    r"FileTransport (Polycom[A-Za-z]+|Poly[A-Za-z]+)-(\w+)-UA/([\d.]+)(?: \(SN:([0-9A-Fa-f]{12})\))?(?: Type/(\w+))?"
)
YEALINK = re.compile(r"(?:[Yy]ealink[ -]+)?(?:SIP[ -]?)?(?:VP-)?([\w]+)\s+([\d.]+)\s+([0-9A-Fa-f:]{12,17}|[\d.]+)")


@pytest.mark.parametrize("persona", personas(), ids=lambda one: f"{one.vendor} {one.model}")
def test_each_persona_is_whole_and_found_again(persona: object) -> None:
    assert load_persona(persona.vendor, persona.model) is persona  # type: ignore[attr-defined]  # a Persona
    assert load_persona(persona.vendor.upper(), persona.token) is persona  # type: ignore[attr-defined]  # a Persona


@pytest.mark.parametrize("persona", personas(), ids=lambda one: f"{one.vendor} {one.model}")
def test_each_user_agent_has_its_vendors_form(persona: object) -> None:
    agent = persona.user_agent(MAC, serial=True)  # type: ignore[attr-defined]  # a Persona
    form = {"poly_ucs": POLY, "poly_obi": re.compile(r"[A-Za-z0-9]+"), "yealink": YEALINK}[persona.sequence]  # type: ignore[attr-defined]  # a Persona
    assert form.fullmatch(agent)
    assert "{" not in agent


def test_the_two_tables_of_models_were_kept_apart_and_agree() -> None:
    """Nothing is shared between them, so a slip in one shows here."""
    for driver in drivers():
        models = driver.manifest.models
        for persona in (one for one in personas() if one.vendor == driver.manifest.name):
            model = models[persona.model]
            assert persona.code in ("", model.code), persona.model
            assert persona.part in ("", model.part_number), persona.model
            claimed = re.sub(r"^(?:SIP[ -])?(?:VP-)?", "", persona.token)
            assert {persona.token, claimed} & set(model.agents), persona.model


@pytest.mark.parametrize(
    ("vendor", "spelling", "model"),
    [
        ("poly", "vvx411", "VVX 411"),
        ("Poly", "VVX_411", "VVX 411"),
        ("poly", "SPIP_650", "SoundPoint IP 650"),
        ("poly", "obi302", "OBi302"),
        ("yealink", "SIP-T46S", "T46S"),
        ("yealink", "t19p_e2", "T19P E2"),
    ],
)
def test_spelling_is_forgiven(vendor: str, spelling: str, model: str) -> None:
    assert load_persona(vendor, spelling).model == model


def test_a_model_outside_the_table_is_made_from_its_family() -> None:
    with pytest.raises(NotFound):
        load_persona("yealink", "T99X")
    made = make_persona("yealink", "T99X", code="204", lines=3)
    assert (made.code, made.lines, made.release()) == ("204", 3, 86)
    assert made.user_agent(MAC, serial=True) == "Yealink SIP-T99X 204.86.0.20 00:04:f2:aa:bb:cc"
    assert make_persona("yealink", "T9", family="yealink80", code="9").release() == 80
    assert (
        make_persona("poly", "VVX 999", part="3111-1-1")
        .user_agent(MAC)
        .startswith("FileTransport PolycomVVX-VVX_999-UA")
    )
    for vendor, family, code in (
        ("yealink", "", ""),
        ("yealink", "ucs", "1"),
        ("poly", "nonsense", ""),
        ("snom", "", ""),
    ):
        with pytest.raises(Invalid):
            make_persona(vendor, "X", family=family, code=code)


REPORT = BootReport(
    vendor="poly",
    model="VVX 411",
    mac=MAC,
    url="https://prov.example.net/",
    certificate="CN=0004F2AABBCC, valid until 2040-01-01",
    tls_version="TLSv1.2",
    tls_cipher="ECDHE-RSA-AES128-GCM-SHA256",
    connections=1,
    steps=(Step("GET", "a.cfg", 200, 12, "master", "chunked"), Step("GET", "b.cfg", 0, 0, "no connection")),
    parameters={
        "reg.1.auth.password": "canary-1",
        "static.security.user_password (admin)": "admin:canary-2",
        "VoiceService.1.VoiceProfile.1.Line.1.SIP.AuthPassword": "canary-3",
        "static.auto_provision.server.url": "https://u:canary-4@h/t/canary-5/",
        "lang.gui": "German",
    },
    lines=(RegisteredLine(1, "2001", "u2001", "pbx:5061", "tls", "Reception", "pbx2", "canary-6"),),
    ignored=("device.x: device.set is not 1",),
    notes=("something",),
    next_url="https://other.example.net/",
    digest="d",
)


def test_secrets_are_in_no_form_of_the_report() -> None:
    for form in (repr(REPORT), as_text(REPORT), as_json(REPORT), str(REPORT.lines)):
        assert "canary" not in form
    told = json.loads(as_json(REPORT))
    assert told["parameters"]["lang.gui"] == "German"
    assert told["parameters"]["reg.1.auth.password"] == "********"
    assert told["lines"][0]["server"] == "pbx:5061"
    assert told["steps"][0] == {
        "method": "GET", "path": "a.cfg", "status": 200, "bytes": 12, "note": "master", "fault": "chunked",
    }  # fmt: skip
    assert (told["outcome"], REPORT.faults) == ("registered", ("a.cfg: chunked",))


def test_the_table_says_all_that_matters() -> None:
    text = as_text(REPORT)
    for part in (
        "00:04:f2:aa:bb:cc at https://prov.example.net/",
        "CN=0004F2AABBCC",
        "TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256",
        "FAULT chunked",
        "line 1: 2001 at pbx:5061 by tls, backup pbx2, shown as 'Reception'",
        "from now on it asks at https://other.example.net/",
        "ignored: device.x",
        "outcome: registered",
    ):
        assert part in text
    rows = [line for line in text.splitlines() if ".cfg" in line]
    assert rows[0].index("200") < rows[0].index("master")
    assert " - " in rows[1]


def test_the_digest_sees_every_difference() -> None:
    line = REPORT.lines[0]
    digests = {
        digest_of(REPORT.steps, REPORT.parameters, REPORT.lines),
        digest_of(REPORT.steps[:1], REPORT.parameters, REPORT.lines),
        digest_of(REPORT.steps, {}, REPORT.lines),
        digest_of(REPORT.steps, REPORT.parameters, ()),
        digest_of(
            REPORT.steps, REPORT.parameters, (RegisteredLine(1, "2001", "u2001", "pbx:5061", "tls", secret="x"),)
        ),
    }
    assert len(digests) == 5
    assert digest_of(REPORT.steps, REPORT.parameters, (line,)) in digests


class Handler(BaseHTTPRequestHandler):
    """Serves what the class holds; for the function that brings its own event loop."""

    files: dict[str, bytes] = {}  # noqa: RUF012  # each test makes its own subclass

    def do_GET(self) -> None:
        body = self.files.get(self.path)
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Length", str(len(body or b"")))
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"files": files}))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


HEADER = b"#!version:1.0.0.1\n"
LINE = HEADER + b"account.1.enable = 1\naccount.1.user_name = 77\naccount.1.sip_server.1.address = pbx\n"


@pytest.mark.parametrize(
    ("files", "code", "outcome"),
    [
        ({"/001565aabbcc.cfg": LINE}, 0, Outcome.REGISTERED),
        ({"/001565aabbcc.cfg": HEADER}, 3, Outcome.IDLE),
        ({}, 4, Outcome.REFUSED),
    ],
)
def test_the_command_says_by_its_exit_code_what_came_of_it(
    files: dict[str, bytes], code: int, outcome: Outcome
) -> None:
    with serving(files) as url:
        given = {"vendor": "yealink", "model": "T46S", "mac": "00:15:65:AA:BB:CC", "url": url}
        for json_output in (True, False):
            got, text = simulate_boot(**given, json_output=json_output)  # type: ignore[arg-type]  # as click calls it
            assert got == code
            assert (json.loads(text)["outcome"] == outcome) if json_output else (f"outcome: {outcome}" in text)


def test_the_command_for_a_model_it_does_not_know() -> None:
    with serving({"/y000000000204.cfg": LINE, "/001565aabbcc.cfg": HEADER}) as url:
        given = {"vendor": "yealink", "model": "T99X", "mac": "001565aabbcc", "url": url}
        code, text = simulate_boot(**given, code="204")  # type: ignore[arg-type]  # as click calls it
        assert code == 0
        assert "y000000000204.cfg" in text
        with pytest.raises(NotFound, match="--code"):
            simulate_boot(**given)  # type: ignore[arg-type]  # as click calls it
