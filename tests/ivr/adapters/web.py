"""The other side of a web hook: a client that posts, and reads the documents it is answered."""

from __future__ import annotations

import base64
import hashlib
import hmac
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlencode, urlsplit

from aiohttp import ClientResponse, ClientSession
from aiohttp.test_utils import RawTestServer
from yarl import URL

from ivr.adapters import Hook, Hooks
from tests.ivr.adapters.person import End, Person

TOKEN = "12345678901234567890123456789012"
PUBLIC = "https://pbx.example.com/activation/twiml"
SECRET = "a-secret-of-some-length"
CALLER = {"From": "sip:0004f2aabbcc@example.sip.twilio.com"}
PHONE = {"mac": "0004F2AABBCC", "source": "192.0.2.7", "auth": "0004f2aabbcc"}
Verbs = list[ET.Element]


@asynccontextmanager
async def serving(*hooks: Hook) -> AsyncIterator[Web]:
    """A real server on a free port, and a client for it."""
    served = Hooks(*hooks)
    async with RawTestServer(served.handle) as server, ClientSession() as session:
        yield Web(session, str(server.make_url("/")))
        await served.close()


class Web:
    """Remembers what went over the wire."""

    def __init__(self, session: ClientSession, base: str) -> None:
        self._session = session
        self._base = base.rstrip("/")
        self.transcript: list[str] = []

    async def send(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        chunked: bool = False,
    ) -> tuple[ClientResponse, bytes]:
        """``target`` is sent as it is, already escaped; a chunked body does not say how long it is."""
        url = URL(self._base + target, encoded=True)
        self.transcript += [f"> {method} {target}", *(f"> {name}: {value}" for name, value in (headers or {}).items())]
        self.transcript += [f"> {body.decode('utf-8', 'replace')}"] if body else []
        async with self._session.request(
            method, url, data=body or None, headers=headers, chunked=chunked or None
        ) as answer:
            content = await answer.read()
        told = [f"< {answer.status} {answer.content_type}"]
        told += [f"< {name}: {answer.headers[name]}" for name in ("Retry-After", "Allow") if name in answer.headers]
        self.transcript += [*told, *(f"< {line}" for line in content.decode("utf-8", "replace").splitlines()), ""]
        return answer, content


def signed(url: str, form: Mapping[str, str], token: str = TOKEN) -> str:
    """As Twilio documents it, written here a second time."""
    text = url + "".join(name + form[name] for name in sorted(form))
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


class Twilio:
    """Acts a call out: posts, speaks the verbs, gathers."""

    def __init__(
        self,
        web: Web,
        person: Person,
        call: str = "CA0123456789abcdef",
        *,
        get: bool = False,
        public: str = PUBLIC,
        caller: Mapping[str, str] = CALLER,
    ) -> None:
        """``public`` is the hook's address, ``caller`` what is said of who calls."""
        self._web = web
        self._person = person
        self._call = call
        self._get = get
        self._public = public
        self._caller = caller
        self.hung_up = False

    async def post(self, query: str = "", **fields: str) -> Verbs:
        form = {"CallSid": self._call, **self._caller, "To": "sip:activate@x", "CallStatus": "in-progress", **fields}
        status, body = await self.raw(form, query)
        assert status == 200
        return list(ET.fromstring(body))

    async def raw(self, form: Mapping[str, str], query: str = "") -> tuple[int, bytes]:
        path = urlsplit(self._public).path
        if self._get:
            full = "&".join(part for part in (query, urlencode(form)) if part)
            answer, body = await self._web.send("GET", f"{path}?{full}", headers=self.proof(f"?{full}", {}))
            return answer.status, body
        suffix = f"?{query}" if query else ""
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8", **self.proof(suffix, form)}
        answer, body = await self._web.send("POST", path + suffix, urlencode(form).encode(), headers)
        return answer.status, body

    def proof(self, suffix: str, form: Mapping[str, str]) -> dict[str, str]:
        """The headers that sign a request."""
        return {"X-Twilio-Signature": signed(self._public + suffix, form)}

    async def call(self) -> None:
        verbs = await self.post()
        while verbs:
            verbs = await self._act(verbs)

    async def _act(self, verbs: Verbs) -> Verbs:
        gather = verbs[0]
        if gather.tag != "Gather":
            self._person.hears(played(verbs))
            assert verbs[-1].tag == "Hangup"
            self.hung_up = True
            return await self._gone()
        self._person.hears(played(list(gather)))
        digits, end = self._person.gathered(int(gather.attrib["numDigits"]))
        if end is End.GONE:
            return await self._gone()
        if end is End.PAUSE and not digits:
            assert verbs[1].tag == "Redirect"
            return await self.post(urlsplit(verbs[1].text or "").query)
        ended = "#" if end is End.POUND else ""
        return await self.post(urlsplit(gather.attrib["action"]).query, Digits=digits or "#", FinishedOnKey=ended)

    async def _gone(self) -> Verbs:
        assert await self.post(CallStatus="completed") == []
        return []


def played(verbs: Verbs) -> tuple[str, ...]:
    """The prompts of a document's Play verbs."""
    return tuple((verb.text or "").rpartition("/")[2].removesuffix(".wav") for verb in verbs if verb.tag == "Play")


class FreeSwitch:
    """Acts a call out: asks for documents, plays, tells the keys that a binding matches."""

    def __init__(
        self,
        web: Web,
        person: Person,
        session: str = "0f3ac1f2-7a5b-4e34-9d1c-5b7c1d9a2e11",
        *,
        secret: str = SECRET,
        phone: Mapping[str, str] = PHONE,
    ) -> None:
        """``phone`` is what the dialplan tells of it."""
        self._web = web
        self._person = person
        self._session = session
        self._path = f"/activation/httapi/{secret}"
        self._phone = phone
        self._step = ""
        self.hung_up = False

    async def get(self, **fields: str) -> Verbs:
        form = {"session_id": self._session, "hostname": "fs1", **self._phone}
        form |= ({"step": self._step} if self._step else {}) | fields
        answer, body = await self._web.send("GET", f"{self._path}?{urlencode(form)}")
        assert (answer.status, answer.content_type) == (200, "text/xml")
        document = ET.fromstring(body)
        assert document.attrib == {"type": "xml/freeswitch-httapi"}
        self._step = document.findtext("params/step", "")
        return list(document.iterfind("work/*"))

    async def call(self) -> None:
        verbs = await self.get()
        while verbs:
            verbs = await self._act(verbs)

    async def _act(self, verbs: Verbs) -> Verbs:
        verb, *others = verbs
        if verb.find("bind") is None:
            self._person.hears(files(verb))
            assert [other.tag for other in others] == ["hangup"]
            self.hung_up = True
            return await self.get(exiting="true")
        assert others == []
        self._person.hears(files(verb))
        key, end = self._person.pressed()
        if end is End.GONE:
            return await self.get(exiting="true")
        return await self.get(code=key, input_type="dtmf") if key else await self.get()


def files(verb: ET.Element) -> tuple[str, ...]:
    """The prompts of a playback; none of a pause."""
    names = verb.attrib.get("file", "").removeprefix("file_string://").split("!")
    return tuple(name.rpartition("/")[2].removesuffix(".wav") for name in names if name)
