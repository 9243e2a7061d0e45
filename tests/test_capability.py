"""What is made of what a phone has shown: one card, words for people, and a clock only where there is one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from provisioner.capability import Card, clock_guess, merged, read, written
from provisioner.http.schemes import scheme_of

NOW = 1_795_000_000.0
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def card(**told: object) -> dict[str, str]:
    return dict(Card("1", "", False, "", "", "10.0.0.1", NOW, NOW, 1, told).lines())


def test_a_card_in_words() -> None:
    said = card(
        versions=[0x0301], suites=[0x002F, 0x5601], sni="prov.example.net", agreed=["TLSv1", "AES128-SHA"],
        verdict=["unique", ""], chain=[["CN=0004F2AABBCC", "CN=Issuing", 0, 1_900_000_000, "RSA", 1024, "sha1"]],
        agent="FileTransport", files=["a.cfg", "PUT b.log"], scheme="Digest MD5", asked="Digest",
    )  # fmt: skip
    assert said == {
        "TLS versions offered": "TLSv1",
        "agreed": "TLSv1 AES128-SHA",
        "suites offered": "AES128-SHA, 0x5601",
        "server name sent (SNI)": "prov.example.net",
        "our certificate": "accepted",
        "certificate 1": "CN=0004F2AABBCC, issued by CN=Issuing, 1970-01-01 to 2030-03-17, RSA 1024, sha1",
        "worth here": "unique",
        "User-Agent": "FileTransport",
        "asked for": "a.cfg, PUT b.log",
        "authentication": "Digest MD5, after it was asked for",
    }
    assert card(versions=[0x0303])["signature algorithms"] == "none sent: only SHA-1 is sure to do"
    assert card(versions=[0x0303], refused="unknown_ca")["our certificate"] == "refused: alert unknown_ca"
    assert card(versions=[0x0303])["server name sent (SNI)"] == "none"
    assert card(agreed=["TLSv1.3", "x"])["certificate"] == "none presented"
    assert card(asked="Digest")["authentication"] == "Digest was asked for and not answered"
    assert card(scheme="Basic")["authentication"] == "Basic, without being asked"
    assert card() == {}


def test_a_clock_is_told_where_the_hello_holds_one() -> None:
    assert clock_guess([]) is None
    assert clock_guess([(NOW, NOW + 40)]) == 40
    assert clock_guess([(NOW, 2**31)]) is None  # once, and far from now: chance
    assert clock_guess([(NOW, 90.0), (NOW + 10, 101.0)]) == 91 - NOW + 0  # twice, and it runs: 1970
    assert clock_guess([(NOW, NOW), (NOW + 10, 5.0)]) is None
    assert clock_guess([(NOW, 5.0), (NOW + 0.2, 5.0)]) is None  # too near each other to show that it runs
    assert card(clock=[[NOW, NOW + 3]])["clock"] == "right to the minute"
    said = card(clock=[[NOW, 100], [NOW + 60, 160]])["clock"]
    assert said.startswith("said 1970-01-01 00:02 UTC, ")
    assert said.endswith("s behind")
    assert card(clock=[[NOW, NOW]], date=[NOW, NOW - 7200])["clock"].endswith("7,200 s behind"), "a date is no chance"


def test_connections_of_one_phone_add_up() -> None:
    first = {"versions": [0x0303], "suites": [1, 2], "refused": "unknown_ca", "files": ["a"], "clock": [[1.0, 2]]}
    then = {"versions": [0x0301], "suites": [2, 3], "agreed": ["TLSv1", "x"], "files": ["b", "a"], "clock": [[9.0, 10]]}
    both = merged(first, then)
    assert (both["versions"], both["suites"], both["files"]) == ([0x0301, 0x0303], [2, 3, 1], ["a", "b"])
    assert both["agreed"] == ["TLSv1", "x"] and "refused" not in both, "it takes our certificate now"
    assert merged(then, first)["refused"] == "unknown_ca"
    assert both["clock"] == [[1.0, 2], [9.0, 10]]
    assert "ended" not in merged({"ended": "left"}, then)
    many = merged({"files": [str(one) for one in range(200)]}, {})
    assert len(many["files"]) == 40


@given(JSON)
def test_whatever_is_written_is_read(value: object) -> None:
    told = {"x": value}
    assert read(written(told)) == told
    assert read(f"[{written(told)}") == read("[]") == {}


def test_of_authorization_only_the_scheme_is_kept() -> None:
    digest = 'Digest username="2001", realm="r", nonce="n", uri="/a", algorithm=SHA-256, response="0123456789abcdef"'
    assert scheme_of(digest) == "Digest SHA-256"
    assert scheme_of('digest username="x", response="y"') == "Digest MD5"
    assert scheme_of("Basic dXNlcjpzZWNyZXQ=") == "Basic"
    assert scheme_of("dXNlcjpzZWNyZXQ=") == scheme_of("dXNlcjpzZWNyZXQ= x") == "other"
    assert scheme_of("") == scheme_of(" ") == ""
    assert scheme_of("Digest algorithm=dXNlcjpzZWNyZXQ") == "Digest other"


@given(st.text(max_size=80))
def test_a_scheme_never_holds_a_credential(text: str) -> None:
    found = scheme_of(f"Digest {text}")
    assert found.startswith("Digest ")
    assert len(found) <= 27
    assert " " not in found.removeprefix("Digest ")
