"""Digest against the RFCs' figures and the standard library's client; an answer counts once; no user is told apart."""

from __future__ import annotations

import hashlib
import re
import urllib.request
from dataclasses import dataclass
from itertools import product

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.sip import digest
from ivr.sip.digest import Answer, Challenger, authorize
from ivr.sip.errors import SipError

KEY = bytes(range(32))
NOW = 1_800_000_000.0
USER, SECRET = "0004f2aabbcc", 's3cret, "with" quotes: \\ and more'
URI = "sip:ivr.example.net"
FROM = "192.0.2.17"
"""Where the phone is."""


def secret_of(user: str) -> str | None:
    return {USER: SECRET, "empty": ""}.get(user)


def challenger(*algorithms: str, life: float = 300.0, remembered: int = 100) -> Challenger:
    return Challenger(KEY, "activation", algorithms or ("MD5",), life, remembered)


def proof(challenge: str, nc: int = 1, method: str = "REGISTER", user: str = USER, secret: str = SECRET) -> str:
    return authorize(challenge, method, URI, user, secret, "0a4f113b", nc)


def verdict(
    judge: Challenger, authorization: str, now: float = NOW, method: str = "REGISTER", source: str = FROM
) -> str:
    return judge.verify(authorization, method, secret_of, now, source).verdict


# --- the RFC's figures, and somebody else's client ------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_example_of_rfc_7616(algorithm: str, response: str) -> None:
    """Section 3.9.1."""
    challenge = (
        'Digest realm="http-auth@example.org", qop="auth, auth-int", '
        f'algorithm={algorithm}, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
        'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    said = authorize(challenge, "GET", "/dir/index.html", "Mufasa", "Circle of Life", cnonce)
    assert f'response="{response}"' in said
    assert 'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"' in said
    assert "qop=auth, nc=00000001" in said


def test_the_example_of_rfc_2617() -> None:
    """Section 3.5, and the same where the phone asks for no protection (RFC 2069)."""
    realm, nonce, path = "testrealm@host.com", "dcd98b7102dd2f0e8b11d0f600bfb0c093", "/dir/index.html"
    challenge = f'Digest realm="{realm}", nonce="{nonce}"'
    new = authorize(f'{challenge}, qop="auth,auth-int"', "GET", path, "Mufasa", "Circle Of Life", "0a4f113b")
    assert 'response="6629fae49393a05397450978507c4ef1"' in new
    old = authorize(challenge, "GET", path, "Mufasa", "Circle Of Life", "0a4f113b")
    first, second = (hashlib.md5(one.encode()).hexdigest() for one in (f"Mufasa:{realm}:Circle Of Life", f"GET:{path}"))
    assert f'response="{hashlib.md5(f"{first}:{nonce}:{second}".encode()).hexdigest()}"' in old
    assert "cnonce" not in old


@dataclass
class _Asked:
    """As much of a urllib request as its digest needs."""

    full_url: str = "http://ivr.example.net/"
    selector: str = URI
    data: None = None

    def get_method(self) -> str:
        return "REGISTER"


def test_the_standard_librarys_client_is_believed() -> None:
    judge = challenger()
    wallet = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    wallet.add_password(None, _Asked.full_url, USER, SECRET)
    asked = dict(re.findall(r'(\w+)="?([^",]*)"?', judge.challenge(NOW, FROM)[0].partition(" ")[2]))
    client = urllib.request.AbstractDigestAuthHandler(wallet)
    said = client.get_authorization(_Asked(), asked)  # type: ignore[arg-type]  # asks for no more than that
    assert judge.verify(f"Digest {said}", "REGISTER", secret_of, NOW + 1, FROM) == Answer(USER, "ok")


# --- what is worth what ---------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithms", [("MD5",), ("SHA-256",), ("SHA-256", "MD5")])
def test_every_challenge_that_is_offered_can_be_answered(algorithms: tuple[str, ...]) -> None:
    judge = challenger(*algorithms)
    challenges = judge.challenge(NOW, FROM)
    assert [re.findall(r"algorithm=([^,]+)", one) for one in challenges] == [[one] for one in algorithms]
    assert all('qop="auth"' in one and "stale" not in one for one in challenges)
    assert [verdict(judge, proof(one)) for one in challenges[:1]] == ["ok"]


def test_what_was_not_offered_is_not_taken() -> None:
    sha = challenger("SHA-256").challenge(NOW, FROM)[0]
    assert verdict(challenger("MD5"), proof(sha)) == "missing"
    assert verdict(challenger("SHA-256"), proof(challenger("MD5").challenge(NOW, FROM)[0])) == "missing"


def test_auth_int_covers_the_body() -> None:
    judge = challenger()
    challenge = judge.challenge(NOW, FROM)[0].replace('qop="auth"', 'qop="auth-int"')
    said = authorize(challenge, "INFO", URI, USER, SECRET, "c", body=b"Signal=5")
    assert judge.verify(said, "INFO", secret_of, NOW, FROM, b"Signal=6").verdict == "wrong"
    assert judge.verify(said, "INFO", secret_of, NOW, FROM, b"Signal=5").verdict == "ok"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ((f'username="{USER}"', 'username="0004f2aabbcd"'), "wrong"),
        ((f'username="{USER}"', 'username="empty"'), "wrong"),
        (('realm="activation"', 'realm="elsewhere"'), "missing"),
        ((f'uri="{URI}"', 'uri="sip:other"'), "wrong"),
        (("nc=00000001", "nc=00000002"), "wrong"),
        (("nc=00000001", "nc=1"), "malformed"),
        (("nc=00000001", "nc=0000000\u0661"), "malformed"),
        (('cnonce="0a4f113b"', 'cnonce="0a4f113c"'), "wrong"),
        (("qop=auth", "qop=none"), "malformed"),
        ((", qop=auth", ""), "malformed"),
        (("algorithm=MD5", "algorithm=SHA-512"), "missing"),
        (("algorithm=MD5", "userhash=true"), "malformed"),
        (('response="', 'response="0'), "wrong"),
        (('response="', 'response="\u00e4'), "wrong"),
        (("Digest ", "Basic "), "missing"),
        (("Digest ", "Digest"), "missing"),
        (("Digest ", "dIGEST   "), "ok"),
        ((", ", " ,\t"), "ok"),
        (("qop=auth", 'qop="auth"'), "ok"),
        (("algorithm=MD5, ", ""), "ok"),
        (('response="', 'response=x, response="'), "malformed"),
        (('realm="activation"', "realm"), "malformed"),
        (('cnonce="0a4f113b"', 'cnonce="0a4f113b'), "malformed"),
        (("Digest ", f'Digest x="{"y" * 3000}", '), "malformed"),
    ],
)
def test_credentials_are_worth_what_they_prove(changed: tuple[str, str], expected: str) -> None:
    judge = challenger()
    said = proof(judge.challenge(NOW, FROM)[0])
    assert said.replace(*changed) != said
    assert verdict(judge, said.replace(*changed)) == expected


def test_no_credentials_are_missing() -> None:
    assert challenger().verify("", "REGISTER", secret_of, NOW, FROM) == Answer("", "missing")
    assert verdict(challenger(), "NoOneKnowsThisScheme opaque-data=here", method="INVITE") == "missing"


def test_another_method_is_another_answer() -> None:
    judge = challenger()
    assert verdict(judge, proof(judge.challenge(NOW, FROM)[0]), method="INVITE") == "wrong"


def test_who_is_named_even_when_wrong() -> None:
    judge = challenger()
    said = proof(judge.challenge(NOW, FROM)[0], secret="guess")
    assert judge.verify(said, "REGISTER", secret_of, NOW, FROM) == Answer(USER, "wrong")


@pytest.mark.parametrize(
    ("later", "expected"), [(0, "ok"), (299, "ok"), (301, "stale"), (-4, "ok"), (-6, "stale"), (1e9, "stale")]
)
def test_a_nonce_has_its_time(later: float, expected: str) -> None:
    judge = challenger()
    assert verdict(judge, proof(judge.challenge(NOW, FROM)[0]), NOW + later) == expected


def test_a_nonce_of_another_key_is_stale_when_the_secret_is_right() -> None:
    """After a restart with a new key a phone gets a fresh nonce and no person hears of it."""
    other = Challenger(b"another", "activation").challenge(NOW, FROM)[0]
    assert verdict(challenger(), proof(other)) == "stale"
    forged = re.sub(r'nonce="..', 'nonce="ff', challenger().challenge(NOW, FROM)[0])
    assert verdict(challenger(), proof(forged)) == "stale"


@pytest.mark.parametrize("nonce", ["invented", "0" * 50, ""])
def test_nobody_is_called_wrong_for_a_nonce_that_is_not_ours(nonce: str) -> None:
    """Whoever answers nothing of ours has heard nothing of us, and may be somebody else's invention."""
    judge = challenger()
    challenge = judge.challenge(NOW, FROM)[0]
    assert verdict(judge, proof(challenge, secret="guess")) == "wrong"
    assert verdict(judge, proof(challenge, secret="guess"), NOW + 301) == "missing"
    invented = re.sub(r'nonce="[^"]*"', f'nonce="{nonce}"', challenge)
    assert verdict(judge, proof(invented, secret="guess")) == "missing"
    other = Challenger(b"another", "activation").challenge(NOW, FROM)[0]
    assert verdict(judge, proof(other, secret="guess")) == "missing"


def test_a_stale_challenge_says_so() -> None:
    assert all(one.endswith("stale=true") for one in challenger("SHA-256", "MD5").challenge(NOW, FROM, stale=True))


def test_processes_with_one_key_believe_each_others_nonces() -> None:
    assert verdict(challenger(), proof(challenger().challenge(NOW, FROM)[0])) == "ok"


# --- whatever comes -------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.text(max_size=200) | st.text(st.sampled_from('abc=",\\ \tnonce')).map("Digest ".__add__))
def test_any_credentials_are_judged(text: str) -> None:
    assert challenger().verify(text, "REGISTER", secret_of, NOW, FROM).verdict in {"missing", "malformed"}


def essence(said: str) -> list[tuple[str, str]]:
    """What may not change; of the rest capitals, spaces and what is not known say nothing."""
    return sorted(re.findall(r'\b(username|realm|nonce|uri|response|cnonce|qop|nc)="?([^",]*)', said.lower()))


@settings(max_examples=examples(400), deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 6))
def test_a_flipped_bit_is_worth_nothing(at: int, bit: int) -> None:
    judge = challenger()
    said = proof(judge.challenge(NOW, FROM)[0])
    at %= len(said)
    changed = said[:at] + chr(ord(said[at]) ^ 1 << bit) + said[at + 1 :]
    if judge.verify(changed, "REGISTER", secret_of, NOW, FROM).verdict == "ok":
        assert essence(changed) == essence(said)
        assert len(essence(said)) == 8


@settings(deadline=None)
@given(st.text(max_size=100) | st.text(st.sampled_from('abc=",\\ realmnonce')).map("Digest ".__add__))
def test_any_challenge_is_answered_or_refused(text: str) -> None:
    try:
        said = authorize(text, "NOTIFY", "sip:a@b", "user", "secret", "c")
    except SipError as wrong:
        assert wrong.status == 0
    else:
        assert said.startswith("Digest ")


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        'Basic realm="x"',
        "Digest",
        'Digest realm="x"',
        'Digest realm="x", nonce="y", algorithm=SHA-512-256, qop="auth"',
        'Digest realm="x", nonce="y", algorithm=MD5-sess, qop="auth"',
        'Digest realm="x", nonce="y", qop="token"',
    ],
)
def test_a_challenge_that_is_beyond_us_is_refused(challenge: str) -> None:
    with pytest.raises(SipError):
        authorize(challenge, "NOTIFY", "sip:a@b", "user", "secret", "c")


def test_quotes_in_names_do_not_end_them() -> None:
    said = authorize('Digest realm="a\\"b", nonce="\\\\"', "NOTIFY", 'sip:"', 'u"', "s", 'c"')
    assert 'realm="a\\"b", nonce="\\\\", uri="sip:\\""' in said


@pytest.mark.parametrize("realm", ['a"b', "a\r\nb", "", "a\\b"])
def test_a_realm_is_plain_words(realm: str) -> None:
    with pytest.raises(ValueError, match="realm"):
        Challenger(KEY, realm)


@pytest.mark.parametrize("algorithms", [(), ("MD4",), ("md5",)])
def test_unknown_algorithms_are_refused(algorithms: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="algorithms"):
        Challenger(KEY, "x", algorithms)


def test_keys_and_secrets_do_not_print() -> None:
    judge = challenger()
    shown = repr(judge) + repr(judge.verify(proof(judge.challenge(NOW, FROM)[0]), "REGISTER", secret_of, NOW, FROM))
    assert SECRET[:6] not in shown
    assert repr(KEY)[2:10] not in shown


def test_an_unknown_user_costs_as_much_as_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[bytes] = []

    def counted(data: bytes) -> object:
        hashed.append(data)
        return hashlib.md5(data)

    monkeypatch.setattr(digest, "_HASHES", {"MD5": counted})
    judge = challenger()
    costs = set()
    for user in (USER, "0004f2ffffff", "empty"):
        said = proof(judge.challenge(NOW, FROM)[0], user=user, secret="guess")
        hashed.clear()
        assert verdict(judge, said) == "wrong"
        costs.add(len(hashed))
    assert costs == {3}


def test_what_stands_in_for_an_unknown_users_secret_opens_nothing() -> None:
    judge = challenger()
    for user, secret in product(("0004f2ffffff", "empty"), ("", digest._NOBODY)):
        assert verdict(judge, proof(judge.challenge(NOW, FROM)[0], user=user, secret=secret)) == "wrong"
