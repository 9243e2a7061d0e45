"""fetch-as says what one phone would make of a server: of its chain, of its answers, and of having none."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chain_maker import Family, certificate, showing

from provisioner.cli import fetch_as
from provisioner.simulator.phone import Phone
from provisioner.simulator.presented import NoTls

Run = Callable[..., Any]
ROOTS = "--roots"


def written(path: Path, *pem: bytes) -> str:
    path.write_bytes(b"".join(pem))
    return str(path)


def told(run: Run, *words: str, code: int) -> Any:
    return json.loads(run("fetch-as", *words, "--json", code=code).stdout)


def test_a_chain_is_judged_with_the_phones_own_roots(run: Run, tmp_path: Path) -> None:
    family, strange = Family(), Family("Strange")
    roots = written(tmp_path / "roots.pem", family.root.pem)
    others = written(tmp_path / "others.pem", strange.root.pem)
    with showing(tmp_path, family.leaf, family.between) as url:
        found = told(run, "VVX 411", url, ROOTS, roots, "--check-name", code=6)
        assert (found["verdict"]["outcome"], found["verdict"]["anchor"]) == ("accepts", "Example Root")
        assert [one["path"] for one in found["asked"]] == ["0004f2000000.cfg", "000000000000.cfg"]
        assert {one["does"] for one in found["asked"]} == {"goes on to the next name (master)"}
        assert found["agent"].startswith("FileTransport PolycomVVX-VVX_411-UA/")
        assert found["tls"].startswith("TLSv1.2 ")  # as its persona, whatever the server could
        found = told(run, "VVX 411", url, ROOTS, others, code=1)
        assert (found["verdict"]["findings"][0]["fault"], found["asked"]) == ("unknown_issuer", [])
        found = told(run, "VVX 411", url, ROOTS, others, "--anyway", code=1)
        assert len(found["asked"]) == 2
        other = url.replace("localhost", "other.example.net")
        found = told(run, "VVX 411", other, ROOTS, roots, "--check-name", "--address", "127.0.0.1", code=1)
        assert [one["fault"] for one in found["verdict"]["findings"]] == ["wrong_name"]
        text = run("fetch-as", "T46S", url, ROOTS, others, code=1).stdout
        assert "the PHONE REFUSES the server's certificate" in text
        assert "what was given for it (1), and nothing else" in text
        found = told(run, "T46S", url, code=6)
        assert found["trusts"].startswith("77 built-in certificates that are not known here one by one")
        assert found["verdict"]["outcome"] == "not known"
        assert [one["path"] for one in found["asked"]][:2] == ["001565000000.boot", "y000000000000.boot"]


def test_what_is_wrong_with_a_chain_is_named(run: Run, tmp_path: Path) -> None:
    family = Family()
    roots = written(tmp_path / "roots.pem", family.root.pem)
    with showing(tmp_path, family.leaf) as url:  # and not what signed it
        found = told(run, "VVX 411", url, ROOTS, roots, code=1)
        assert found["verdict"]["findings"][0]["fault"] == "unknown_issuer"
    over = certificate("localhost", family.between, days=(-30, -2), names=["localhost"])
    with showing(tmp_path, over, family.between) as url:
        found = told(run, "VVX 411", url, ROOTS, roots, code=1)
        assert [one["fault"] for one in found["verdict"]["findings"]] == ["expired"]
        found = told(run, "VVX 411", url, ROOTS, roots, "--clock", "1999-12-31", code=1)
        assert {one["fault"] for one in found["verdict"]["findings"]} == {"not_yet_valid"}
        found = told(run, "VVX 411", url, ROOTS, roots, "--knows-key", "RSA", code=1)
        assert "too_new" in {one["fault"] for one in found["verdict"]["findings"]}


def test_no_connection_and_no_tls_have_codes_of_their_own(run: Run, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    error = json.loads(run("fetch-as", "VVX 411", f"https://127.0.0.1:{port}/", "--json", code=4).stderr)
    assert error["error"]["kind"] == "unreachable"
    error = json.loads(run("fetch-as", "VVX 411", "https://nosuch.invalid/", "--json", code=4).stderr)
    assert error["error"]["cause"].startswith("nosuch.invalid is no name that is known here")
    with showing(tmp_path, Family().leaf) as url:  # no less than TLS 1.2
        error = json.loads(run("fetch-as", "T28P", url, "--json", code=5).stderr)
        assert error["error"]["kind"] == "no_tls"
        assert "the phone offered TLS 1.0" in error["error"]["cause"]


def test_wrong_words_are_told_in_a_line(run: Run, tmp_path: Path) -> None:
    nothing = written(tmp_path / "nothing.pem", b"no certificate")
    leaf = written(tmp_path / "leaf.pem", Family().leaf.pem)
    key = written(tmp_path / "key.pem", Family().leaf.key_pem)
    for words, said in (
        (["NoSuchPhone", "https://x/"], "neither a MAC nor a model"),
        (["VVX 411", "ftp://x/"], "only http:// and https://"),
        (["0004f2aabbcc", "https://x/"], "--model says which phone"),
        (["VVX 411", "https://x/", "--clock", "soon"], "is no date"),
        (["VVX 411", "https://x/", "--mac", "12"], "--mac"),
        (["VVX 411", "https://x/", ROOTS, nothing], "no PEM certificates"),
        (["VVX 411", "https://x/", "--tls-min", "9"], "9"),
        (["T54W", "https://x/", "--tls-max", "1.0"], "give both, --tls-min and --tls-max"),
        (["VVX 411", "https://x/", ROOTS, key], "holds no PEM certificates that can be read\n"),
        (["VVX 411", "https://127.0.0.1:1/", "--cert", leaf, "--key", key], "the key is another certificate's"),
        (["VVX 411", "https://x/", "--cert", nothing], "a certificate and its key are given together"),
        (["0004f2aabbcc", "https://x/", "--mac", "0004f2aabbcc"], "--mac is for a phone that is given by its model"),
    ):
        assert said in run("fetch-as", *words, code=2).output, words
    assert json.loads(run("fetch-as", "NoSuchPhone", "--json", code=2).stderr)["error"]["kind"] == "usage"


def test_a_device_of_this_installation_is_known_by_its_mac(run: Run, office: None, tmp_path: Path) -> None:
    family = Family()
    with showing(tmp_path, family.leaf, family.between) as url:
        found = told(run, "00:04:f2:aa:bb:cc", url, code=6)
    assert (found["vendor"], found["model"], found["mac"]) == ("poly", "VVX 411", "0004f2aabbcc")
    assert found["certificate"] == ""


def test_a_password_stands_in_no_argument(run: Run, tmp_path: Path) -> None:
    """Who looks at the list of processes sees arguments."""
    given = ["VVX 411", "https://127.0.0.1:1/", "--user", "ann"]
    for verb in ("fetch-as", "simulate boot"):
        assert "--password " not in run(*verb.split(), "--help").stdout
    assert "No such option" in run("fetch-as", *given, "--password", "s3cret", code=2).stderr
    seen: list[str] = []

    def fetch(made: Phone, *_: object, **__: object) -> None:
        seen.append(made.password)
        raise NoTls(made.password and "tried")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetch_as, "fetch_as_now", fetch)
        run("fetch-as", *given, "--password-stdin", text="from a pipe\n", code=5)
        asked = run("fetch-as", *given, "--ask-password", "--json", text="typed\n", code=5)
        run("fetch-as", *given, code=5)
    assert seen == ["from a pipe", "typed", ""]
    assert "typed" not in asked.output and asked.stdout == "", "the prompt is not part of the answer"
