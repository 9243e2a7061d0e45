"""The order in which Poly UCS asks: master with its 404, file list, overrides, licence, directory; then it uploads."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from provisioner.simulator.poly import (
    Master,
    config_text,
    first_wins,
    lines_of,
    provisioning_url,
    read_config,
    read_master,
    settle,
)
from provisioner.simulator.reading import Unreadable, read_xml
from provisioner.simulator.walk import MISSING, XML, Result, Walk, is_usable

_EVERYBODY = "000000000000"


async def walk_ucs(walk: Walk) -> Result:
    """Updater first where asked for, then the application; its parameters and lines."""
    if walk.phone.updater:
        _speak(walk, "Updater")
        early = await _files(walk)
        if early[0] is not None:
            await _firmware(walk, early[0])
    _speak(walk, "Application")
    master, files, refused = await _files(walk)
    result = Result(refused_because=refused)
    if master is None:
        return _stored(walk, result)
    if walk.phone.check_firmware and not walk.phone.updater:
        await _firmware(walk, master)
    overrides = await _overrides(walk, master)
    merged = first_wins([*overrides, *files])
    result.parameters, result.ignored = settle(merged)
    await walk.optional(_rest(walk, master, result))
    return _settled(walk, result)


def _speak(walk: Walk, role: str) -> None:
    persona, phone = walk.phone.persona, walk.phone
    firmware = persona.updater if role == "Updater" else phone.firmware
    serial = walk.flash.parameters.get("device.prov.tagSerialNo") == "1"
    walk.agent = persona.user_agent(phone.mac, firmware=firmware, role=role, serial=serial)


async def _files(walk: Walk) -> tuple[Master | None, list[dict[str, str]], str]:
    """The master and the files of its list, and why the phone was not served, if so."""
    master, refused = await _master(walk)
    if master is None:
        return None, [], refused
    files: list[dict[str, str]] = []
    walk.lines_read = lambda: lines_of(settle(first_wins(files))[0], walk.phone.persona.lines)[0]
    for name in master.config_files:
        config, why = await _config(walk, name, "in CONFIG_FILES")
        files += [config] if config is not None else []
        refused = refused or why
    return master, files, refused


async def _master(walk: Walk) -> tuple[Master | None, str]:
    explicit = urlsplit(walk.url).path.rsplit("/", 1)[-1]
    named = [explicit] if explicit.endswith(".cfg") and len(explicit) >= 5 else []
    if named:
        walk.url = urljoin(walk.url, ".")
    why = ""
    for name in dict.fromkeys([*named, f"{walk.phone.asks_as}.cfg", f"{_EVERYBODY}.cfg"]):
        answer = await walk.get(name, XML, "master")
        why = f"{name} answered {answer.status}"
        if is_usable(answer):
            try:
                return read_master(answer.body, walk.phone.persona, walk.phone.asks_as), ""
            except Unreadable as error:
                walk.say(error.cause)
                return None, f"{name}: {error.cause}"
        if answer.status not in MISSING:
            break
    return None, why


async def _config(walk: Walk, name: str, note: str) -> tuple[dict[str, str] | None, str]:
    answer = await walk.get(name, XML, note)
    if not is_usable(answer):
        return None, f"{name} answered {answer.status}" + (f" with {answer.fault}" if answer.fault else "")
    try:
        return read_config(answer.body), ""
    except Unreadable as error:
        walk.say(error.cause)
        return None, f"{name}: {error.cause}"


async def _firmware(walk: Walk, master: Master) -> None:
    if not master.app_file:
        return
    folder, slash, image = master.app_file.rpartition("/")
    if "://" not in master.app_file and image == "sip.ld" and walk.phone.persona.part:
        image = f"{walk.phone.persona.part}.sip.ld"
    answer = await walk.head(f"{folder}{slash}{image}", "firmware image")
    if answer.status != 200:
        walk.notes.append(f"no firmware image {image}: the phone stays on what it runs")


async def _overrides(walk: Walk, master: Master) -> list[dict[str, str]]:
    """The phone's own menu before its web page; both lie above the server's files [inferred]."""
    found = []
    for kind in ("phone", "web"):
        config, _ = await _config(walk, f"{master.overrides}{walk.phone.asks_as}-{kind}.cfg", "overrides")
        found += [config] if config else []
    return found


async def _rest(walk: Walk, master: Master, result: Result) -> None:
    mac, parameters = walk.phone.asks_as, result.parameters
    for owner in (_EVERYBODY, str(mac)):
        await walk.get(f"{master.licenses}{owner}-license.cfg", XML, "licence")
    await _directory(walk, master)
    if walk.phone.upload_log and parameters.get("feature.logUpload.enabled") != "0":
        text = f"0000000000|so   |4|00|{walk.agent} configured, {len(parameters)} parameters\n"
        await walk.put(f"{master.logs}{mac}-app.log", text.encode(), note="log")
    if walk.phone.local_changes and parameters.get("prov.autoConfigUpload.enabled") != "0":
        body = config_text("PHONE_CONFIG", walk.phone.local_changes)
        await walk.put(f"{master.overrides}{mac}-phone.cfg", body, note="overrides")


async def _directory(walk: Walk, master: Master) -> None:
    """Its own directory; the seed only while the phone has never had one."""
    names = [f"{walk.phone.asks_as}-directory.xml"]
    if not walk.flash.has_directory:
        names.append(f"{_EVERYBODY}-directory.xml")
    for name in names:
        answer = await walk.get(f"{master.contacts}{name}", XML, "directory")
        if is_usable(answer):
            try:
                read_xml(answer.body, start=lambda *_: None)
            except Unreadable as error:
                walk.say(error.cause)
            break
    walk.flash.has_directory = True


def _stored(walk: Walk, result: Result) -> Result:
    """No master: the phone runs on the settings of its last boot."""
    result.lines, why = lines_of(walk.flash.parameters, walk.phone.persona.lines)
    result.no_line_because = "" if result.lines else "; ".join(why)
    return result


def _settled(walk: Walk, result: Result) -> Result:
    """UCS builds its settings anew from the files at each boot; only ``device.*`` stays in flash."""
    kept = {name: value for name, value in walk.flash.parameters.items() if name.startswith("device.")}
    walk.flash.parameters = {**kept, **result.parameters}
    result.lines, why = lines_of(result.parameters, walk.phone.persona.lines)
    result.no_line_because = "" if result.lines else "; ".join(why)
    walk.notes += why if result.lines else []
    result.next_url = provisioning_url(result.parameters)
    for place in ("customCaCert1", "customCaCert2"):
        if pem := result.parameters.get(f"device.sec.TLS.{place}", ""):
            walk.trust(pem)
    return result
