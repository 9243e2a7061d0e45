"""HTTP Digest against curl and urllib, the RFC's own example, and headers nobody should send."""

from __future__ import annotations

import hashlib
import re
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.digest import Claim, Digest

MASTER = bytes(range(32))
NOW = 1_800_000_000.0
USER, SECRET = "0004f28b54f4", "s3cret, \"with\" quotes: 'and' more"
URI = "/0004f28b54f4.cfg"


@pytest.fixture
def digest() -> Digest:
    return Digest.of(MASTER, ("SHA-256", "MD5"))


def answer(digest: Digest, algorithm: str = "MD5", at: float = NOW, secret: str = SECRET, **changed: str) -> str:
    """An Authorization header as a phone makes it, worked out here a second time."""
    challenge = next(one for one in digest.challenge(at) if f"algorithm={algorithm}" in one)
    part = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    values = {"username": USER, "realm": part["realm"], "nonce": part["nonce"], "uri": URI, "nc": "00000001"}
    values |= {"cnonce": "0a4f113b", "qop": "auth", "method": "GET", **changed}

    def hashed(text: str) -> str:
        return hashlib.new({"MD5": "md5", "SHA-256": "sha256"}[algorithm], text.encode()).hexdigest()

    first = hashed(f"{values['username']}:{values['realm']}:{secret}")
    second = hashed(f"{values['method']}:{values['uri']}")
    joined = ":".join((first, values["nonce"], values["nc"], values["cnonce"], values["qop"], second))
    quoted = ", ".join(f'{name}="{values[name]}"' for name in ("username", "realm", "nonce", "uri", "cnonce"))
    tail = f'nc={values["nc"]}, qop={values["qop"]}, algorithm={algorithm}, response="{hashed(joined)}"'
    return f"Digest {quoted}, {tail}"


def judged(digest: Digest, header: str, at: float = NOW, secret: str = SECRET) -> str:
    claim = digest.claim(header)
    return "unreadable" if claim is None else digest.verify(claim, "GET", URI, secret, at)


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_right_answer_is_ok(digest: Digest, algorithm: str) -> None:
    header = answer(digest, algorithm)
    claim = digest.claim(header)
    assert claim is not None
    assert claim.username == USER
    assert judged(digest, header) == "ok"
    assert judged(Digest.of(MASTER, ("SHA-256", "MD5")), header) == "ok"  # a sibling worker


def test_the_rfcs_own_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 7616, section 3.9.1: Mufasa, Circle of Life."""
    digest = Digest(b"k", "http-auth@example.org", ("MD5", "SHA-256"))
    monkeypatch.setattr(Digest, "_age", lambda *_: 1.0)  # its nonce is not one of ours
    common = (
        'Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", '
        'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, '
        'cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, '
        'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS", '
    )
    for tail in (
        'algorithm=MD5, response="8ca523f5e9506fed4657c9700eebdbec"',
        'algorithm=SHA-256, response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"',
    ):
        claim = digest.claim(common + tail)
        assert claim is not None
        assert digest.verify(claim, "GET", "/dir/index.html", "Circle of Life", NOW) == "ok"
        assert digest.verify(claim, "GET", "/dir/index.html", "Circle of life", NOW) == "bad"


def test_wrong_in_any_part_is_bad(digest: Digest) -> None:
    right = digest.claim(answer(digest))
    assert right is not None
    assert digest.verify(right, "GET", URI, SECRET, NOW) == "ok"
    assert digest.verify(right, "PUT", URI, SECRET, NOW) == "bad"
    assert digest.verify(right, "GET", "/0004f2000001.cfg", SECRET, NOW) == "bad"
    assert digest.verify(right, "GET", URI, SECRET + "x", NOW) == "bad"
    for name in ("username", "realm", "nonce", "uri", "response", "nc", "cnonce", "algorithm"):
        changed = replace(right, **{name: "0" * len(getattr(right, name))})
        assert digest.verify(changed, "GET", changed.uri, SECRET, NOW) == "bad", name


def test_another_realm_is_bad(digest: Digest) -> None:
    assert judged(digest, answer(digest, realm="elsewhere")) == "bad"


def test_no_secret_never_fits(digest: Digest) -> None:
    assert judged(digest, answer(digest, secret=""), secret="") == "bad"


def test_nonce_grows_stale_and_comes_from_here(digest: Digest) -> None:
    header = answer(digest)
    assert judged(digest, header, NOW + 299) == "ok"
    assert judged(digest, header, NOW + 301) == "stale"
    assert judged(digest, header, NOW - 60) == "stale"
    assert judged(digest, header, NOW + 301, secret="wrong") == "bad"  # stale is not told to a guesser
    assert judged(Digest.of(MASTER[::-1], ("MD5",)), header) == "bad"
    assert judged(digest, answer(digest, nonce="f" * 52)) == "bad"
    assert all("stale=true" in one for one in digest.challenge(NOW, stale=True))


def test_algorithm_that_is_not_offered_is_bad(digest: Digest) -> None:
    assert judged(Digest.of(MASTER, ("SHA-256",)), answer(digest, "MD5")) == "bad"
    with pytest.raises(ValueError, match="MD5, SHA-256"):
        Digest.of(MASTER, ("MD4",))
    with pytest.raises(ValueError, match="MD5, SHA-256"):
        Digest.of(MASTER, ())


def test_absolute_uri_is_the_same_target(digest: Digest) -> None:
    assert judged(digest, answer(digest, uri=f"https://prov.example.net:8443{URI}")) == "ok"
    assert judged(digest, answer(digest, uri=f"https://prov.example.net{URI}?x=1")) == "bad"
    assert judged(digest, answer(digest, uri=f"ftp://prov.example.net{URI}")) == "bad"
    assert judged(digest, answer(digest, uri="http://[")) == "bad"


BAD_HEADERS = [
    "",
    "Digest",
    "Basic dXNlcjpwYXNz",
    "Digest username=",
    'Digest username="a',
    'Digest username="a" realm="b"',
    'Digest username="a\nb"',
    'Digest username="é"',
    "Digest " + ", ".join(f'a{n}="b"' for n in range(1000)),
]


@pytest.mark.parametrize("header", BAD_HEADERS, ids=lambda header: header[:30])
def test_malformed_header_is_no_claim(digest: Digest, header: str) -> None:
    assert digest.claim(header) is None


def test_doubled_or_missing_part_is_no_claim(digest: Digest) -> None:
    header = answer(digest)
    assert digest.claim(header + ', username="0004f2000001"') is None
    assert digest.claim(header + ", userhash=true") is None
    for name in ("username", "realm", "nonce", "uri", "response", "qop", "nc", "cnonce"):
        assert digest.claim(re.sub(rf'\b{name}=("[^"]*"|[^,]*),? ?', "", header).rstrip(", ")) is None, name
    assert digest.claim(header.replace("qop=auth", "qop=auth-int")) is None
    assert digest.claim(header.replace("nc=00000001", "nc=1")) is None


@given(st.text(max_size=300))
def test_no_text_raises(text: str) -> None:
    digest = Digest.of(MASTER, ("MD5",))
    for header in (text, f"Digest {text}", f'Digest username="{text}", nc=00000001'):
        claim = digest.claim(header)
        assert claim is None or digest.verify(claim, "GET", URI, SECRET, NOW) == "bad"


@given(st.builds(Claim, *([st.text(max_size=40)] * 8)), st.text(max_size=10), st.text(max_size=10))
def test_no_claim_raises(claim: Claim, method: str, uri: str) -> None:
    assert Digest.of(MASTER, ("MD5",)).verify(claim, method, uri, SECRET, NOW) == "bad"


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40))
def test_quoted_text_is_read_back(text: str) -> None:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    rest = 'realm="r", nonce="n", uri="/", response="x", qop=auth, nc=00000001, cnonce="c"'
    claim = Digest.of(MASTER, ("MD5",)).claim(f'digest username="{escaped}",{rest}')
    assert claim is not None
    assert claim.username == text


def test_nothing_of_it_prints(digest: Digest) -> None:
    claim = digest.claim(answer(digest))
    assert claim is not None
    shown = repr(digest) + repr(claim)
    for secret in (digest.key.hex(), repr(digest.key), claim.response, claim.nonce, claim.cnonce, SECRET):
        assert secret not in shown


# --- other people's clients ---------------------------------------------------------------------------


@pytest.fixture(params=[("MD5",), ("SHA-256",), ("SHA-256", "MD5")], ids="+".join)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    digest = Digest.of(MASTER, request.param)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            claim = digest.claim(self.headers.get("Authorization", ""))
            known = claim is not None and claim.username == USER
            outcome = (
                "bad" if claim is None else digest.verify(claim, "GET", self.path, SECRET if known else "", time.time())
            )
            self.send_response(200 if outcome == "ok" else 401)
            if outcome != "ok":
                for one in digest.challenge(time.time()):
                    self.send_header("WWW-Authenticate", one)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok" if outcome == "ok" else b"no")

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(10)
    server.server_close()


@pytest.mark.parametrize(
    ("user", "password", "status"),
    [(USER, SECRET, "200"), (USER, "wrong", "401"), ("x", SECRET, "401"), (USER, "", "401")],
)
def test_curl(url: str, user: str, password: str, status: str) -> None:
    command = ["curl", "-s", "--noproxy", "*", "--digest", "-u", f"{user}:{password}", "-w", " %{http_code}"]
    for target in (URI, "/dir/a%20b.cfg?x=1"):
        done = subprocess.run([*command, url + target], capture_output=True, text=True, timeout=20, check=True)
        assert done.stdout == f"{'ok' if status == '200' else 'no'} {status}"


@pytest.mark.parametrize("url", [("MD5",)], indirect=True, ids=["MD5"])
def test_urllib(url: str) -> None:
    handler = urllib.request.HTTPDigestAuthHandler()
    handler.add_password("provisioning", url, USER, SECRET)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), handler)
    with opener.open(url + URI, timeout=10) as response:
        assert response.read() == b"ok"
