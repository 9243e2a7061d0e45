"""The order in which a Yealink asks: boot files, common file, its own file, resources, then what it synchronises."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from provisioner.simulator.reading import Unreadable
from provisioner.simulator.walk import MISSING, TEXT, XML, Result, Walk, is_usable
from provisioner.simulator.yealink import (
    Boot,
    config_text,
    heeded,
    last_wins,
    lines_of,
    read_boot,
    read_config,
    settle,
)

_EVERYBODY = "y000000000000.boot"


@dataclass(slots=True)
class _Fetched:
    """The configuration files of one boot, in order."""

    files: list[list[tuple[str, str]]] = field(default_factory=list, repr=False)
    digests: dict[str, str] = field(default_factory=dict)
    refused: str = ""


async def walk_yealink(walk: Walk) -> Result:
    """Fetch all, apply when any file has changed, then synchronise."""
    release = walk.phone.persona.release(walk.phone.firmware)
    walk.agent = _agent(walk, release)
    boot = await _boot_file(walk) if release > 80 else None
    fetched = _Fetched()
    walk.lines_read = lambda: lines_of(_told(fetched, release), walk.phone.persona.lines)[0]
    names = [_fill(walk, name) for name in boot.includes] if boot else _own_names(walk)
    for name in names:
        await _config(walk, name, fetched)
    result = Result(refused_because=fetched.refused)
    if fetched.files:
        _apply(walk, fetched, boot, release, result)
    await walk.optional(_resources(walk, result))
    await walk.optional(_synchronise(walk, release))
    result.lines, why = lines_of(walk.flash.parameters, walk.phone.persona.lines)
    result.no_line_because = "" if result.lines else "; ".join(why)
    walk.notes += why if result.lines else []
    result.next_url = result.parameters.get(_name(release, "auto_provision.server.url"), "")
    return result


def _name(release: int, name: str) -> str:
    return f"static.{name}" if release > 80 else name


def _agent(walk: Walk, release: int) -> str:
    told = walk.flash.parameters.get(_name(release, "auto_provision.user_agent_mac.enable"), "1")
    return walk.phone.persona.user_agent(walk.phone.mac, firmware=walk.phone.firmware, serial=told != "0")


def _own_names(walk: Walk) -> list[str]:
    return [f"y{int(walk.phone.persona.code):012d}.cfg", f"{walk.phone.asks_as}.cfg"]


async def _boot_file(walk: Walk) -> Boot | None:
    """The first boot file that is there; None where there is none that can be read."""
    for name in (f"{walk.phone.asks_as}.boot", _EVERYBODY):
        answer = await walk.get(name, TEXT, "boot file")
        if is_usable(answer):
            try:
                boot = read_boot(answer.body)
            except Unreadable as error:
                walk.say(error.cause)
                continue
            walk.notes += [f"{name}: {line!r} is not understood" for line in boot.odd]
            # Includes are relative to the boot file, which lies at the provisioning URL itself.
            return boot
        if answer.status not in MISSING:
            break
    return None


def _fill(walk: Walk, name: str) -> str:
    persona = walk.phone.persona
    filled = name.replace("$MAC", str(walk.phone.asks_as)).replace("$PN", persona.model.replace(" ", ""))  # [inferred]
    return filled if "://" in filled else filled.removeprefix("./")


async def _config(walk: Walk, name: str, fetched: _Fetched) -> None:
    answer = await walk.get(name, TEXT, "configuration")
    why = f"{name} answered {answer.status}" + (f" with {answer.fault}" if answer.fault else "")
    if is_usable(answer):
        try:
            pairs, odd = read_config(answer.body)
        except Unreadable as error:
            walk.say(error.cause)
            why = f"{name}: {error.cause}"
        else:
            walk.notes += [f"{name}: {line!r} is not understood" for line in odd]
            fetched.files.append(pairs)
            fetched.digests[name] = hashlib.md5(answer.body, usedforsecurity=False).hexdigest()
            return
    # A common file may be missing; the device's own may not.
    if str(walk.phone.asks_as) in name or answer.status not in MISSING:
        fetched.refused = fetched.refused or why


def _told(fetched: _Fetched, release: int) -> dict[str, str]:
    """What the files say, whatever the phone has in its flash."""
    return settle(heeded(last_wins(fetched.files), release)[0], {}, overwrite=True)


def _apply(walk: Walk, fetched: _Fetched, boot: Boot | None, release: int, result: Result) -> None:
    if fetched.digests == walk.flash.digests:
        walk.notes.append("every file is unchanged: nothing was applied")
        return
    told, result.ignored = heeded(last_wins(fetched.files), release)
    overwrite = boot is not None and boot.overwrite
    walk.flash.parameters = settle(told, walk.flash.parameters, overwrite=overwrite)
    walk.flash.digests = fetched.digests
    result.parameters = settle(told, {}, overwrite=True)


async def _resources(walk: Walk, result: Result) -> None:
    """Files named inside the configuration: CA certificates always, firmware when asked to look."""
    for name in ("static.trusted_certificates.url", "trusted_certificates.url"):
        if url := result.parameters.get(name, ""):
            answer = await walk.get(walk.join(url), note="CA certificate")
            if is_usable(answer):
                walk.trust(answer.body.decode("ascii", "replace"))
    for name in ("static.firmware.url", "firmware.url"):
        if walk.phone.check_firmware and (url := result.parameters.get(name, "")):
            await walk.head(walk.join(url), "firmware image")


async def _synchronise(walk: Walk, release: int) -> None:
    settings, mac = walk.flash.parameters, walk.phone.asks_as

    def switch(name: str) -> bool:
        return settings.get(_name(release, f"auto_provision.{name}"), "0") == "1"

    def place(name: str) -> str:
        folder = settings.get(_name(release, f"auto_provision.{name}"), "")
        return walk.join(folder).rstrip("/") + "/" if folder else ""

    if switch("custom.sync"):
        await _local_settings(walk, release, f"{place('custom.sync.path')}{mac}-local.cfg")
    if switch("custom.sync") or switch("local_contact.backup.enable"):
        await walk.get(f"{place('local_contact.backup.path')}{mac}-contact.xml", XML, "contacts")
    if switch("local_calllog.backup.enable"):
        await walk.get(f"{place('local_calllog.backup.path')}{mac}-calllog.xml", XML, "call log")
    if switch("local_log.backup.enable") and walk.phone.upload_log:
        text = f"{walk.agent}: {len(settings)} settings\n".encode()
        for kind in ("boot", "sys"):  # names [inferred]
            await walk.put(f"{place('local_log.backup.path')}{mac}-{kind}.log", text, note="log")


async def _local_settings(walk: Walk, release: int, name: str) -> None:
    """What its user set: taken back from the server, over the files only where it is protected, then uploaded."""
    settings = walk.flash.parameters
    answer = await walk.get(name, TEXT, "the user's own settings")
    if is_usable(answer):
        try:
            pairs, _ = read_config(answer.body)
        except Unreadable as error:
            walk.say(error.cause)
        else:
            protected = settings.get(_name(release, "auto_provision.custom.protect")) == "1"  # [inferred]
            own = last_wins([pairs])
            walk.flash.parameters = settle(own, settings, overwrite=False) if protected else {**own, **settings}
    if walk.phone.local_changes:
        posts = settings.get(_name(release, "auto_provision.custom.upload_method")) == "1"  # [inferred]
        body = config_text(walk.phone.local_changes)
        await walk.put(name, body, method="POST" if posts else "PUT", note="the user's own settings")
