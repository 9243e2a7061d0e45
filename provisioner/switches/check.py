"""Which of address, community, user, auth and privacy is wrong, step by step, in words; nothing is changed by it.

Whether a credential may change something is tried by writing what is there already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from provisioner.switches import oids
from provisioner.switches.agent import Agent, AgentFailed, Part
from provisioner.switches.credentials import Community, Credential, Privacy, User
from provisioner.switches.engine import Pace, Reached, Where
from provisioner.switches.oids import Oid, Value, text_in

_OTHER: Final[Mapping[Privacy, Privacy]] = {
    Privacy.AES192: Privacy.AES192_CISCO,
    Privacy.AES256: Privacy.AES256_CISCO,
    Privacy.AES192_CISCO: Privacy.AES192,
    Privacy.AES256_CISCO: Privacy.AES256,
}
"""The same algorithm with keys lengthened in the other way; they differ only behind MD5, SHA and SHA-224."""
_TABLES: Final[tuple[tuple[str, Oid], ...]] = (
    ("addresses by VLAN (Q-BRIDGE)", oids.QFDB_PORT),
    ("addresses (BRIDGE)", oids.FDB_PORT),
    ("neighbours (LLDP)", (*oids.REM, oids.REM_PORT)),
    ("neighbours (CDP)", oids.CDP),
    ("power (POWER-ETHERNET)", oids.POE_DETECTION),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One step."""

    step: str
    """address, reading, tables, changing."""
    good: bool
    part: str
    """What is wrong, in one word; empty: nothing."""
    words: str


class Speaker(Protocol):
    """How an agent is got; the shell's ``Engine``, as far as is needed here."""

    async def agent(self, where: Where, credential: Credential, pace: Pace) -> Agent:
        """As this credential sees the switch."""


async def examine(
    speaker: Speaker, where: Where, reached: Reached, read: Credential, write: Credential | None, pace: Pace
) -> list[Finding]:
    """Every step as far as it can be gone; the last one that fails is what to mend first."""
    found = [_address(where, reached)]
    if isinstance(read, User) and not reached.engine:
        return found
    if reached.closed:
        return found
    told, finding = await _reading(speaker, where, reached, read, pace)
    found.append(finding)
    if told is None:
        return found
    agent = await speaker.agent(where, read, pace)
    try:
        found.append(await _tables(agent))
        if write is not None:
            found.append(await _changing(speaker, where, write, pace, agent))
    except AgentFailed as error:  # it has answered a moment ago
        found.append(Finding("tables", False, error.part, f"{error.cause}: it is slow, or goes to and fro"))
    return found


def _address(where: Where, reached: Reached) -> Finding:
    if reached.engine:
        return Finding("address", True, "", f"SNMP is spoken at {where}")
    if reached.closed:
        words = f"the machine at {where} is there and no SNMP is spoken on this port: switch it on there"
        return Finding("address", False, Part.ADDRESS, words)
    words = f"nothing at {where} answers without a name: the address is wrong, or this server is kept away"
    return Finding("address", False, Part.ADDRESS, words)


async def _reading(
    speaker: Speaker, where: Where, reached: Reached, read: Credential, pace: Pace
) -> tuple[Mapping[Oid, Value] | None, Finding]:
    try:
        told = await (await speaker.agent(where, read, pace)).get(oids.SYS_NAME, oids.SYS_DESCR, oids.SYS_OBJECT_ID)
    except AgentFailed as error:
        return None, await _why_not(speaker, where, reached, read, pace, error)
    if not told:
        words = "the credential is right and may read nothing: give it a view of the whole tree"
        return None, Finding("reading", False, Part.RIGHTS, words)
    name, described = text_in(told.get(oids.SYS_NAME)), text_in(told.get(oids.SYS_DESCR), 60)
    return told, Finding("reading", True, "", f"{read.words}: {name or 'nameless'}, {described or 'of no description'}")


async def _why_not(
    speaker: Speaker, where: Where, reached: Reached, read: Credential, pace: Pace, error: AgentFailed
) -> Finding:
    if isinstance(read, Community) and error.part is Part.SILENT:
        return Finding("reading", False, *_silent(reached))
    if isinstance(read, User) and error.part in (Part.PRIVACY, Part.SILENT) and read.privacy in _OTHER:
        other = replace(read, privacy=_OTHER[read.privacy])
        if await _reads(speaker, where, other, pace):
            words = f"the keys are right and lengthened in another way: take {other.privacy.value} for privacy"
            return Finding("reading", False, Part.PRIVACY, words)
    if isinstance(read, User) and error.part is Part.SILENT and read.privacy is not Privacy.NONE:
        # RFC 3414 section 3.2: a message that cannot be read may be reported or dropped.
        words = "the user is known, and what it sends is not understood: the privacy key or algorithm is wrong"
        return Finding("reading", False, Part.PRIVACY, words)
    return Finding("reading", False, error.part, error.cause)


def _silent(reached: Reached) -> tuple[Part, str]:
    if reached.engine:
        return (
            Part.COMMUNITY,
            "the switch speaks SNMP and does not answer to this community: it is wrong, v2c is off there, or an "
            "access list of the switch leaves this server out",
        )
    return Part.SILENT, "no answer: the address is wrong, or the community is and the switch speaks no SNMPv3"


async def _reads(speaker: Speaker, where: Where, credential: Credential, pace: Pace) -> bool:
    try:
        return bool(await (await speaker.agent(where, credential, pace)).get(oids.SYS_OBJECT_ID))
    except AgentFailed:
        return False


async def _tables(agent: Agent) -> Finding:
    """What can be found out with it."""
    have: list[str] = []
    lack: list[str] = []
    for word, root in _TABLES:
        (have if (await agent.walk(root, 1)).rows else lack).append(word)
    places = [word for word in have if word.startswith("addresses")]
    words = f"tells {', '.join(have) or 'nothing of its ports'}"
    words += f"; does not tell {', '.join(lack)}" if lack else ""
    if not places:
        words += ": without a table of addresses phones are found by their neighbours alone"
    return Finding("tables", bool(have), "" if have else Part.RIGHTS, words)


async def _changing(speaker: Speaker, where: Where, write: Credential, pace: Pace, reader: Agent) -> Finding:
    """Write what is there: power of a port, or who is in charge where there is no such port."""
    rows = [row for row in (await reader.walk(oids.POE_ADMIN, 1)).rows if row[1] == 1]  # never what is off
    contact = (await reader.get(oids.SYS_CONTACT)).get(oids.SYS_CONTACT)
    oid, value = rows[0] if rows else (oids.SYS_CONTACT, contact)
    if not isinstance(value, (int, bytes)):
        return Finding(
            "changing", False, Part.OBJECT, "there is nothing to try it with: no port with power, no contact"
        )
    try:
        await (await speaker.agent(where, write, pace)).set(oid, value)
    except AgentFailed as error:
        return Finding("changing", False, error.part, _read_only(write, error))
    return Finding("changing", True, "", f"{write.words}: may change {'the power of ports' if rows else 'values'}")


def _read_only(write: Credential, error: AgentFailed) -> str:
    if isinstance(write, User) and error.part is Part.RIGHTS:
        return f"the user {write.user} may read and not change: give its group a write view"
    return error.cause
