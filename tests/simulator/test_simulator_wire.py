"""The phone's own TLS and HTTP: what it proves, what it bears, what it reports as the server's fault."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from scripted_server import TEXT, Asked, Certificates, Reply, ScriptedServer, play

from provisioner.errors import Invalid, Unusable
from provisioner.model import Mac
from provisioner.simulator import BootReport, Flash, Outcome, Phone, boot, load_persona
from provisioner.simulator.credentials import Credentials
from tests.spare_port import spare_port

MAC = Mac.parse("001565aabbcc")
CONFIG = b"#!version:1.0.0.1\naccount.1.enable = 1\naccount.1.user_name = 1\naccount.1.sip_server.1.address = pbx\n"
FILES = {"/y000000000066.cfg": b"#!version:1.0.0.1\n", "/001565aabbcc.cfg": CONFIG}


def phone(certificates: Certificates, **habits: object) -> Phone:
    own = {"certificate": certificates.certificate, "key": certificates.key, "trust": certificates.server_ca}
    settings = {"persona": load_persona("yealink", "T46S"), "mac": MAC, "retry_delay": 0.0, **own, **habits}
    return Phone(**settings)  # type: ignore[arg-type]  # each test names its own


# --- TLS ----------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("resume", [True, False])
async def test_a_connection_per_file_with_and_without_resumption(
    certificates: Certificates, version: str, resume: bool
) -> None:
    caller = phone(certificates, connection_per_file=True, resume=resume, tls_min=version, tls_max=version)
    flash = Flash()
    async with ScriptedServer(play(FILES), certificates.context(required=True)) as server:
        first = await boot(caller, server.url, flash)
        second = await boot(caller, server.url, flash)
    assert [one.connection for one in server.asked] == list(range(1, 9))
    assert {one.subject for one in server.asked} == {"0004F2AABBCC"}
    assert (first.tls_version, first.connections) == (f"TLSv{version}", 4)
    assert (first.resumed, second.resumed) == ((3, 4) if resume else (0, 0))


@pytest.mark.asyncio
async def test_an_old_phone_speaks_tls_1_0_only(certificates: Certificates) -> None:
    old = phone(certificates, persona=load_persona("yealink", "T28P"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        legacy = certificates.context(lowest=ssl.TLSVersion.TLSv1)
    legacy.set_ciphers("ALL:@SECLEVEL=0")
    async with ScriptedServer(play({}), certificates.context()) as modern:
        refused = await boot(old, modern.url)
    assert {step.status for step in refused.steps} == {0}
    assert "TLS" in refused.refused_because
    async with ScriptedServer(play({**FILES, "/y000000000000.cfg": CONFIG}), legacy) as server:
        report = await boot(old, server.url)
    assert (report.tls_version, report.outcome) == ("TLSv1", Outcome.REGISTERED)


@pytest.mark.asyncio
@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_an_impostor_whose_certificate_the_server_refuses(certificates: Certificates, version: str) -> None:
    impostor = phone(
        certificates, certificate=certificates.stranger, key=certificates.stranger_key, tls_min=version, tls_max=version
    )
    async with ScriptedServer(play(FILES), certificates.context(required=True)) as server:
        report = await boot(impostor, server.url)
    assert server.asked == []
    assert report.outcome is Outcome.REFUSED
    assert report.lines == ()
    assert "001565aabbcc.boot: " in report.refused_because


@pytest.mark.asyncio
async def test_a_tls_alert_is_final(certificates: Certificates) -> None:
    ended = asyncio.Event()

    async def alarm(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(bytes.fromhex("15030300020246"))  # fatal, protocol_version
        writer.close()
        await writer.wait_closed()
        ended.set()

    async with await asyncio.start_server(alarm, "127.0.0.1", 0) as server:
        report = await boot(phone(certificates), f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        await ended.wait()
    assert report.refused_because == "001565aabbcc.boot: TLS ended: tlsv1 alert protocol version"
    assert len(report.steps) == 1


@pytest.mark.asyncio
async def test_a_phone_without_a_certificate_behind_a_token(certificates: Certificates) -> None:
    files = {f"/t/0123456789abcdef{name}": body for name, body in FILES.items()}
    bare = phone(certificates, certificate=None, key=None)
    async with ScriptedServer(play(files), certificates.context()) as server:
        report = await boot(bare, f"{server.url}t/0123456789abcdef/")
    assert {one.subject for one in server.asked} == {""}
    assert (report.outcome, report.certificate) == (Outcome.REGISTERED, "")
    assert report.url == f"{server.url}t/********/"
    assert "0123456789abcdef" not in repr(report)


@pytest.mark.asyncio
async def test_a_server_it_does_not_trust(certificates: Certificates) -> None:
    async with ScriptedServer(play(FILES), certificates.context()) as server:
        strict = await boot(phone(certificates, trust=certificates.certificate), server.url)
        lax = await boot(phone(certificates, trust=None, check_server=False), server.url)
    assert "does not trust the server's certificate" in strict.refused_because
    assert len(strict.steps) == 1
    assert lax.outcome is Outcome.REGISTERED


@pytest.mark.asyncio
async def test_the_name_is_checked_unless_its_owner_says_otherwise(certificates: Certificates) -> None:
    async with ScriptedServer(play(FILES), certificates.context()) as server:
        url = f"https://elsewhere.example.net:{server.port}/"
        strict = await boot(phone(certificates, address="127.0.0.1"), url)
        lax = await boot(phone(certificates, address="127.0.0.1", check_name=False), url)
    assert "Hostname mismatch" in strict.refused_because
    assert lax.outcome is Outcome.REGISTERED
    assert server.asked[0].headers["host"] == f"elsewhere.example.net:{server.port}"


def test_mistakes_of_the_caller_are_errors(certificates: Certificates, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="key"):
        phone(certificates, key=None)
    for url in ("ftp://host/", "https://", "host", "https://host:99999/", "https://a..b/"):
        with pytest.raises(Invalid, match="url"):
            asyncio.run(boot(phone(certificates), url))
    with pytest.raises(Invalid, match="tls"):
        asyncio.run(boot(phone(certificates, tls_min="1.3", tls_max="1.2"), "https://127.0.0.1/"))
    with pytest.raises(Invalid, match="ciphers"):
        asyncio.run(boot(phone(certificates, ciphers="NONSENSE"), "https://127.0.0.1/"))
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("nothing")
    for habits in ({"trust": nothing}, {"certificate": nothing}, {"key": nothing}, {"key": tmp_path / "absent"}):
        with pytest.raises(Unusable):
            asyncio.run(boot(phone(certificates, **habits), "https://127.0.0.1/"))


# --- a server that misbehaves ------------------------------------------------------------------------


async def only_own(certificates: Certificates, reply: Reply, **habits: object) -> BootReport:
    files = {**FILES, "/001565aabbcc.cfg": reply}
    async with ScriptedServer(play(files)) as server:
        return await boot(phone(certificates, **habits), server.url)


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding"),
        (HEAD + b"\r\nhello", "no Content-Length"),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nhello", "not one number"),
        (HEAD + b"Content-Length: -1\r\n\r\nhello", "not one number"),
        (HEAD + b"Content-Length: 999999999\r\n\r\n", "more than a phone holds"),
    ],
)
async def test_what_a_phone_cannot_bear_is_a_fault(certificates: Certificates, raw: bytes, fault: str) -> None:
    report = await only_own(certificates, Reply(raw=raw))
    assert fault in report.faults[0]
    assert report.outcome is Outcome.REFUSED
    assert report.parameters == {}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"SSH-2.0-x\r\n\r\n", "status line"),
        (b"HTTP/2 200 OK\r\n\r\n", "status line"),
        (HEAD + b"no colon\r\n\r\n", "header line"),
        (HEAD + b"Content-Length: 50\r\n\r\nhello", "before the answer was whole"),
        (HEAD + b"X: " + b"a" * 70000, "longer than a phone reads"),
    ],
)
async def test_what_is_no_answer_is_tried_again_and_given_up(certificates: Certificates, raw: bytes, why: str) -> None:
    report = await only_own(certificates, Reply(raw=raw))
    tries = [step for step in report.steps if step.path == "001565aabbcc.cfg"]
    assert [step.status for step in tries] == [0, 0, 0]
    assert why in report.refused_because


@pytest.mark.asyncio
async def test_silence_ends_with_the_phones_patience(certificates: Certificates) -> None:
    report = await only_own(certificates, Reply(CONFIG, delay=5.0), patience=0.2, attempts=2)
    assert "no whole answer within 0.2 s" in report.refused_because
    assert [step.status for step in report.steps[-2:]] == [0, 0]


@pytest.mark.asyncio
async def test_a_server_that_is_not_there(certificates: Certificates) -> None:
    report = await boot(phone(certificates), f"https://127.0.0.1:{spare_port()}/")
    assert len(report.steps) == 3
    assert "no connection" in report.refused_because
    assert (report.connections, report.tls_version) == (0, "")


@pytest.mark.asyncio
async def test_a_busy_server_is_tried_again(certificates: Certificates) -> None:
    answers = iter([Reply(status=503, headers={"Retry-After": "9"}), Reply(status=500), Reply(CONFIG)])

    def script(asked: Asked) -> Reply:
        return next(answers) if asked.path == "/001565aabbcc.cfg" else play(FILES)(asked)

    async with ScriptedServer(script) as server:
        report = await boot(phone(certificates), server.url)
    assert [step.status for step in report.steps[3:]] == [503, 500, 200]
    assert report.outcome is Outcome.REGISTERED


@pytest.mark.asyncio
async def test_a_server_error_that_stays_is_a_refusal(certificates: Certificates) -> None:
    report = await only_own(certificates, Reply(status=503, headers={"Retry-After": "9"}))
    assert report.refused_because == "001565aabbcc.cfg answered 503"
    assert "Retry-After 9 is not heeded" in report.steps[-1].note


@pytest.mark.asyncio
async def test_a_redirect_is_not_followed(certificates: Certificates) -> None:
    report = await only_own(certificates, Reply(status=302, headers={"Location": "/login"}))
    assert "a redirect" in report.steps[-1].note
    assert report.outcome is Outcome.REFUSED


@pytest.mark.asyncio
async def test_html_in_place_of_a_configuration(certificates: Certificates) -> None:
    report = await only_own(certificates, Reply(b"<html>", media_type="text/html"))
    assert report.faults[0].startswith("001565aabbcc.cfg: HTML in place of a configuration")


@pytest.mark.asyncio
async def test_a_strange_content_type_is_noted_only(certificates: Certificates) -> None:
    report = await only_own(certificates, Reply(CONFIG, media_type="image/png"))
    assert "Content-Type image/png, expected text/plain" in report.steps[-1].note
    assert report.outcome is Outcome.REGISTERED


@pytest.mark.asyncio
async def test_a_kept_connection_that_ended_meanwhile_is_made_anew(certificates: Certificates) -> None:
    def script(asked: Asked) -> Reply:
        return replace(play(FILES)(asked), hang_up=True)  # closes after each answer without saying so

    async with ScriptedServer(script, certificates.context()) as server:
        report = await boot(phone(certificates), server.url)
    assert report.outcome is Outcome.REGISTERED
    assert [step.status for step in report.steps] == [404, 404, 200, 200]
    assert report.connections == 4


@pytest.mark.asyncio
async def test_connection_close_is_obeyed(certificates: Certificates) -> None:
    def script(asked: Asked) -> Reply:
        return replace(play(FILES)(asked), headers={"Connection": "close"})

    async with ScriptedServer(script) as server:
        report = await boot(phone(certificates), server.url)
    assert report.connections == 4
    assert [one.connection for one in server.asked] == [1, 2, 3, 4]


# --- credentials ---------------------------------------------------------------------------------------

VECTORS = {"MD5": "8ca523f5e9506fed4657c9700eebdbec",
           "SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"}  # fmt: skip


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_the_example_of_rfc_7616(algorithm: str) -> None:
    mufasa = Credentials("Mufasa", "Circle of Life", ("MD5", "SHA-256"))
    challenge = (
        'Digest realm="http-auth@example.org", qop="auth, auth-int", '
        f'algorithm={algorithm}, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
        'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    assert mufasa.take([challenge])
    header = mufasa.header("GET", "/dir/index.html", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ")
    assert f'response="{VECTORS[algorithm]}"' in header
    assert 'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"' in header
    assert "qop=auth, nc=00000001" in header
    assert "Circle of Life" not in repr(mufasa)


def test_the_strongest_challenge_it_can_answer() -> None:
    both = ['Digest realm="r", nonce="1", algorithm=SHA-256, qop="auth"', 'Digest realm="r", nonce="2", qop="auth"']
    old, new = Credentials("u", "p"), Credentials("u", "p", ("MD5", "SHA-256"))
    assert old.take(both)
    assert new.take(both)
    assert 'nonce="2"' in old.header("GET", "/")
    assert 'nonce="1"' in new.header("GET", "/")
    assert not old.take(both[:1])
    assert not old.take(['Basic realm="r"', "Digest realm=x"])
    assert not Credentials("", "").take(both)


def digest_script(password: str, algorithm: str) -> tuple[list[str], object]:
    """A server that checks the answer by itself."""
    counts: list[str] = []
    offer = f'Digest realm="phones", nonce="n1", qop="auth", algorithm={algorithm}'

    def hexed(text: str) -> str:
        return hashlib.new("md5" if algorithm == "MD5" else "sha256", text.encode()).hexdigest()

    def script(asked: Asked) -> Reply:
        told = dict(
            part.strip().replace('"', "").split("=", 1)
            for part in asked.headers.get("authorization", "Digest ").removeprefix("Digest ").split(",")
            if part.strip()
        )
        proof = hexed(f"001565aabbcc:phones:{password}")
        rest = f"{told.get('nc')}:{told.get('cnonce')}:auth:{hexed(f'{asked.method}:{asked.path}')}"
        if told.get("response") != hexed(f"{proof}:n1:{rest}"):
            return Reply(status=401, headers={"WWW-Authenticate": offer})
        counts.append(told["nc"])
        return play(FILES)(asked)

    return counts, script


@pytest.mark.asyncio
@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
async def test_digest_is_answered_once_and_then_told_with_each_request(
    certificates: Certificates, algorithm: str
) -> None:
    counts, script = digest_script("s3cret:@1", algorithm)
    persona = replace(load_persona("yealink", "T46S"), digests=("MD5", "SHA-256"))
    async with ScriptedServer(script) as server:  # type: ignore[arg-type]  # a Script
        url = server.url.replace("//", "//001565aabbcc:s3cret%3A%401@")
        report = await boot(phone(certificates, persona=persona), url)
    assert [step.status for step in report.steps] == [401, 404, 404, 200, 200]
    assert counts == ["00000001", "00000002", "00000003", "00000004"]
    assert report.outcome is Outcome.REGISTERED
    assert "s3cret" not in repr(report)
    assert "s3cret" not in report.url


@pytest.mark.asyncio
async def test_a_wrong_password_stops_the_phone(certificates: Certificates) -> None:
    _, script = digest_script("right", "MD5")
    async with ScriptedServer(script) as server:  # type: ignore[arg-type]  # a Script
        report = await boot(phone(certificates, user="001565aabbcc", password="wrong"), server.url)
    assert report.outcome is Outcome.REFUSED
    assert {step.status for step in report.steps} == {401}
    assert "credentials wanted" in report.steps[-1].note


@pytest.mark.asyncio
async def test_credentials_do_not_follow_a_file_list_to_another_server(certificates: Certificates) -> None:
    _, script = digest_script("secret", "MD5")
    async with ScriptedServer(play({"/x.cfg": CONFIG})) as other:
        include = f'#!version:1.0.0.1\ninclude:config "{other.url}x.cfg"\n'.encode()

        def first(asked: Asked) -> Reply:
            answer = script(asked)  # type: ignore[operator]  # a Script
            return answer if answer.status == 401 else Reply(include, media_type=TEXT)

        async with ScriptedServer(first) as server:
            report = await boot(phone(certificates, user="001565aabbcc", password="secret"), server.url)
    assert report.outcome is Outcome.REGISTERED
    assert "authorization" not in other.asked[0].headers
    assert "authorization" in server.asked[-1].headers
