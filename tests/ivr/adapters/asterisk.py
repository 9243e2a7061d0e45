"""A small Asterisk: connects, tells its environment, does what it is told and answers as res_agi.c does."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

from tests.ivr.adapters.person import End, Person
from tests.ivr.scenarios import Then

ENVIRONMENT = {
    "network": "yes",
    "network_script": "activate",
    "request": "agi://127.0.0.1/activate",
    "channel": "PJSIP/0004f2aabbcc-00000001",
    "language": "en",
    "uniqueid": "1795334400.1",
    "callerid": "unknown",
    "extension": "activate",
}
VARIABLES = {
    "${CHANNEL(endpoint)}": "0004f2aabbcc",
    "${PJSIP_ENDPOINT(${CHANNEL(endpoint)},auth)}": "0004f2aabbcc-auth",
    "${PJSIP_HEADER(read,MAC)}": "00:04:F2:AA:BB:CC",
    "${CHANNEL(pjsip,remote_addr)}": "192.0.2.7:5060",
}
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')


def words(line: str) -> list[str]:
    """A command's words as Asterisk's parse_args takes them: quotes group, a backslash escapes."""
    return [re.sub(r"\\(.)", r"\1", quoted) if plain == "" else plain for quoted, plain in _WORD.findall(line)]


class Asterisk:
    """One channel in the dialplan's AGI()."""

    def __init__(
        self,
        person: Person,
        *,
        variables: Mapping[str, str] = VARIABLES,
        environment: Mapping[str, str] = ENVIRONMENT,
    ) -> None:
        self._person = person
        self._variables = dict(variables)
        self._environment = environment
        self._last: tuple[str, ...] = ()
        self._dead = False
        self.set: dict[str, str] = {}
        self.hung_up = False
        self.transcript: list[str] = []

    async def call(self, port: int) -> None:
        """Until the other side closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self._reader, self._writer = reader, writer
        for name, value in self._environment.items():
            self._say(f"agi_{name}: {value}")
        self._say("")
        while line := await reader.readline():
            self.transcript.append("< " + line.decode().rstrip("\n"))
            self._answer(words(line.decode()))
        self._heard_to_the_end()
        writer.close()

    def _say(self, line: str) -> None:
        self.transcript.append("> " + line)
        self._writer.write(line.encode() + b"\n")

    def _answer(self, command: list[str]) -> None:
        match command:
            case ["GET", "FULL", "VARIABLE", name]:
                value = self._variables.get(name)
                self._say("200 result=0" if value is None else f"200 result=1 ({value})")
            case ["SET", "VARIABLE", name, value]:
                self.set[name] = value
                self._say("200 result=1")
            case ["HANGUP"]:
                self.hung_up = True
                self._say("200 result=1")
            case _ if self._dead:
                self._say("511 Command Not Permitted on a dead channel or intercept routine")
            case ["GET", "DATA", file, timeout, most]:
                assert int(timeout) >= 1000
                self._get_data(file, int(most))
            case ["STREAM", "FILE", file, escapes, "0"]:
                assert "#" not in escapes
                self._stream_file(file)
            case _:
                self._say("510 Invalid or unknown command")

    def _get_data(self, file: str, most: int) -> None:
        """One file, or none."""
        assert "&" not in file
        heard = (*self._last, file.removeprefix("activation/")) if file else self._last
        self._last = ()
        self._person.hears(heard)
        digits, end = self._person.gathered(most)
        if end is End.GONE:
            self._leave()
        else:
            self._say(f"200 result={digits}" + (" (timeout)" if end is End.PAUSE else ""))

    def _stream_file(self, file: str) -> None:
        self._last += (file.removeprefix("activation/"),)
        if self._leaving():
            self._heard_to_the_end()
            self._leave()
        else:
            self._say("200 result=0 endpos=9600")

    def _leaving(self) -> bool:
        turn = self._person.next
        return turn is not None and turn.hears == self._last and turn.then is Then.HANGS_UP

    def _heard_to_the_end(self) -> None:
        if self._last:
            self._person.hears(self._last)
        self._last = ()

    def _leave(self) -> None:
        self._dead = True
        self._say("HANGUP")
        self._say("200 result=-1")
