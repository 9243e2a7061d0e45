"""The order in which an OBi or Poly ATA asks: the one file that its ConfigURL names."""

from __future__ import annotations

import hashlib
from typing import Final

from provisioner.simulator.obi import lines_of, read_script
from provisioner.simulator.reading import Unreadable
from provisioner.simulator.walk import XML, Result, Walk, is_usable

CONFIG_URL: Final = "X_DeviceManagement.ITSPProvisioning.ConfigURL"
_AGENT: Final = "X_DeviceManagement.HTTPClient.UserAgent"
_FIRMWARE: Final = "X_DeviceManagement.FirmwareUpdate.FirmwareURL"
_AUTHORITY: Final = "X_DeviceManagement.PlatformCACert.1."


async def walk_obi(walk: Walk) -> Result:
    """Fetch, apply unless unchanged, and say what each port would register."""
    walk.agent = _agent(walk)
    url = _expand(walk, walk.url)
    name = url if not url.endswith("/") else f"{url}{walk.phone.asks_as.upper()}.xml"
    shown = name.removeprefix(walk.url.rpartition("/")[0] + "/")
    answer = await walk.get(shown, XML, "configuration")
    result = Result()
    if is_usable(answer):
        _apply(walk, result, shown, answer.body)
    else:
        result.refused_because = f"{shown} answered {answer.status}{f' with {answer.fault}' * bool(answer.fault)}"
    result.lines, why = lines_of(walk.flash.parameters, walk.phone.persona.lines)
    walk.lines_read = lambda: result.lines
    result.no_line_because = "" if result.lines else "; ".join(why)
    walk.notes += why if result.lines else []
    if walk.phone.check_firmware and (image := result.parameters.get(_FIRMWARE, "")):
        await walk.head(_expand(walk, image), "firmware image")
    await walk.optional(_authority(walk, result))
    result.next_url = _next(walk, result)
    return result


async def _authority(walk: Walk, result: Result) -> None:
    """The CA that the configuration names, trusted when it has the sum that stands beside it [inferred]."""
    url = result.parameters.get(f"{_AUTHORITY}DownloadURL", "")
    if not url:
        return
    answer = await walk.get(_expand(walk, url), note="CA certificate")
    if is_usable(answer):
        digest = hashlib.md5(answer.body, usedforsecurity=False).hexdigest()
        if digest == result.parameters.get(f"{_AUTHORITY}MD5CheckSum", "").lower():
            walk.trust(answer.body.decode("ascii", "replace"))
        else:
            walk.say("it has not the MD5 that the configuration says")


def _apply(walk: Walk, result: Result, name: str, body: bytes) -> None:
    digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
    if walk.flash.digests.get(name) == digest:  # [inferred] for OBi
        walk.notes.append(f"{name} is unchanged: nothing was applied")
        return
    try:
        script = read_script(body)
    except Unreadable as error:
        walk.say(error.cause)
        result.refused_because = f"{name}: {error.cause}"
        return
    walk.flash.digests[name] = digest
    walk.flash.parameters = script.applied_to(walk.flash.parameters)
    result.parameters = dict(script.values)


def _agent(walk: Walk) -> str:
    told = walk.flash.parameters.get(_AGENT, "")
    return _expand(walk, told) if told else walk.phone.persona.user_agent(walk.phone.mac)


def _next(walk: Walk, result: Result) -> str:
    told = _expand(walk, result.parameters.get(CONFIG_URL, ""))
    return told if "://" in told else ""


def _expand(walk: Walk, text: str) -> str:
    """The macros of a provisioning script; ``$DSN`` first, it begins like ``$DM`` does not but is longer."""
    persona = walk.phone.persona
    words = (
        ("$FWV", walk.phone.firmware or persona.firmware),
        ("$MAC", walk.phone.asks_as.upper()),
        ("$DSN", walk.phone.asks_as.upper()),
        ("$DM", persona.token),
    )
    for macro, value in words:
        text = text.replace(macro, value)
    return text
