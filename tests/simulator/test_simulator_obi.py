"""Poly OBi and ATA: one file, two spellings of it, and a line for each FXS port."""

from __future__ import annotations

import pytest
from scripted_server import Certificates, ScriptedServer, play

from provisioner.model import Mac
from provisioner.simulator import Flash, Outcome, Phone, Unreadable, boot, load_persona
from provisioner.simulator.obi import lines_of, read_script

MAC = Mac.parse("9cadef100001")
LINE = "VoiceService.1.VoiceProfile.1.Line.1."
SHORT = """<?xml version="1.0" encoding="UTF-8"?>
<ParameterList>
 <O><N>VoiceService.1.VoiceProfile.2.SIP.</N><P><N>ProxyServer</N><V>sip1.example.net</V></P>
  <P><N>ProxyServerPort</N><V>5061</V></P><P><N>ProxyServerTransport</N><V>TLS</V></P></O>
 <O><N>VoiceService.1.VoiceProfile.1.Line.1.</N><P><N>Enable</N><V>true</V></P>
  <P><N>X_ServProvProfile</N><V>B</V></P></O>
 <O><N>VoiceService.1.VoiceProfile.1.Line.1.SIP.</N><P><N>AuthUserName</N><V>2001</V></P>
  <P><N>AuthPassword</N><V>s3&amp;cret-1</V></P></O>
 <O><N>VoiceService.1.VoiceProfile.1.Line.1.CallingFeatures.</N><P><N>CallerIDName</N><V>Fax &lt;1&gt;</V></P></O>
 <O><N>VoiceService.1.VoiceProfile.1.Line.2.</N><P><N>Enable</N><V>false</V></P></O>
</ParameterList>"""
LONG = (
    SHORT.replace("O>", "Object>").replace("P>", "ParameterValueStruct>").replace("N>", "Name>").replace("V>", "Value>")
)


def unit(certificates: Certificates, model: str = "OBi302", **habits: object) -> Phone:
    own = {"certificate": certificates.certificate, "key": certificates.key, "trust": certificates.server_ca}
    settings = {"persona": load_persona("poly", model), "mac": MAC, **own, **habits}
    return Phone(**settings)  # type: ignore[arg-type]  # each test names its own


@pytest.mark.asyncio
async def test_one_get_of_the_name_in_upper_case(certificates: Certificates) -> None:
    async with ScriptedServer(play({"/9CADEF100001.xml": SHORT}), certificates.context(required=True)) as server:
        report = await boot(unit(certificates), server.url)
    assert server.order == [("GET", "/9CADEF100001.xml")]
    assert server.asked[0].agent == "OBi302"
    assert (report.outcome, report.steps[0].path) == (Outcome.REGISTERED, "9CADEF100001.xml")
    [line] = report.lines
    assert (line.number, line.user, line.secret, line.transport) == (1, "2001", "s3&cret-1", "tls")
    assert (line.server, line.display_name) == ("sip1.example.net:5061", "Fax <1>")
    assert any(note.startswith("port 2") for note in report.notes)


@pytest.mark.asyncio
async def test_the_config_url_decides_the_name(certificates: Certificates) -> None:
    async with ScriptedServer(play({"/ata/ATA402/9CADEF100001-4.0.0.xml": SHORT})) as server:
        report = await boot(unit(certificates, "ATA 402"), f"{server.url}ata/$DM/$MAC-$FWV.xml")
    assert server.order == [("GET", "/ata/ATA402/9CADEF100001-4.0.0.xml")]
    assert report.outcome is Outcome.REGISTERED


@pytest.mark.asyncio
async def test_a_missing_file_is_a_refusal(certificates: Certificates) -> None:
    async with ScriptedServer(play({})) as server:
        report = await boot(unit(certificates, "OBi200"), server.url)
    assert server.order == [("GET", "/9CADEF100001.xml")]
    assert report.refused_because == "9CADEF100001.xml answered 404"
    assert report.outcome is Outcome.REFUSED


@pytest.mark.asyncio
async def test_an_unchanged_file_is_not_applied_again_and_the_agent_may_be_set(certificates: Certificates) -> None:
    agent = "<O><N>X_DeviceManagement.HTTPClient.</N><P><N>UserAgent</N><V>$DM/$FWV $MAC</V></P></O></ParameterList>"
    files = {"/9CADEF100001.xml": SHORT.replace("</ParameterList>", agent)}
    flash = Flash()
    async with ScriptedServer(play(files)) as server:
        first = await boot(unit(certificates), server.url, flash)
        second = await boot(unit(certificates), server.url, flash)
    assert first.parameters
    assert second.parameters == {}
    assert second.lines == first.lines
    assert server.asked[1].agent == "OBi302/3.2.2.5921 9CADEF100001"


@pytest.mark.asyncio
async def test_a_configuration_may_send_it_to_another_config_url(certificates: Certificates) -> None:
    place = "X_DeviceManagement.ITSPProvisioning."
    chain = f"<ParameterList><O><N>{place}</N><P><N>ConfigURL</N><V>%s</V></P></O></ParameterList>"
    async with ScriptedServer(play({})) as server:
        files = {"/start.xml": chain % f"{server.url}own/$MAC.xml", "/own/9CADEF100001.xml": SHORT}
        server.script = play(files)
        stays = await boot(unit(certificates), f"{server.url}start.xml")
        server.asked.clear()
        goes = await boot(unit(certificates, follow=1), f"{server.url}start.xml")
    assert stays.next_url == f"{server.url}own/9CADEF100001.xml"
    assert server.order == [("GET", "/start.xml"), ("GET", "/own/9CADEF100001.xml")]
    assert (stays.outcome, goes.outcome) == (Outcome.IDLE, Outcome.REGISTERED)


def test_both_spellings_say_the_same() -> None:
    assert read_script(SHORT.encode()) == read_script(LONG.encode())
    assert read_script(SHORT.encode()).values[f"{LINE}SIP.AuthPassword"] == "s3&cret-1"


@pytest.mark.parametrize("spelling", ['X_UD="Y"', 'X_UseDefault="Yes"'])
def test_a_value_may_go_back_to_its_default(spelling: str) -> None:
    script = read_script(f"<ParameterList><O><N>A.</N><P><N>b</N><V {spelling}/></P></O></ParameterList>".encode())
    assert script.applied_to({"A.b": "1", "A.c": "2"}) == {"A.c": "2"}


def test_reset_all_forgets_what_was_stored() -> None:
    script = read_script(b'<ParameterList X_Reset="All"><O><N>A.</N><P><N>b</N><V>new</V></P></O></ParameterList>')
    assert script.applied_to({"A.b": "old", "A.c": "old"}) == {"A.b": "new"}


@pytest.mark.parametrize(
    "body",
    [
        b"<Other><O><N>A.</N><P><N>b</N><V>1</V></P></O></Other>",
        b"<ParameterList><O><N>A</N><P><N>b</N><V>1</V></P></O></ParameterList>",
        b"<ParameterList><P><N>b</N><V>1</V></P></ParameterList>",
        b"<ParameterList><O><N>A.</N><P><V>1</V></P></O></ParameterList>",
        b"<ParameterList>",
    ],
)
def test_files_that_break_the_dialect(body: bytes) -> None:
    with pytest.raises(Unreadable):
        read_script(body)


def services() -> dict[str, str]:
    told = {"VoiceService.1.VoiceProfile.1.SIP.ProxyServer": "pbx"}
    for n in (1, 2):
        own = f"VoiceService.1.VoiceProfile.1.Line.{n}."
        told |= {f"{own}Enable": "true", f"{own}SIP.AuthUserName": f"u{n}", f"{own}SIP.URI": f"20{n}@pbx"}
    return told


def test_each_port_is_a_line_and_may_choose_its_service() -> None:
    assert [(one.number, one.user, one.transport) for one in lines_of(services(), 2)[0]] == [
        (1, "201", "udp"),
        (2, "202", "udp"),
    ]
    crossed = {**services(), "VoiceService.1.X_FXS.1.PrimaryLine": "SP2 Service"}
    assert [(one.number, one.user) for one in lines_of(crossed, 2)[0]] == [(1, "202"), (2, "202")]
    assert [one.number for one in lines_of(services(), 1)[0]] == [1]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({f"{LINE}Enable": "false"}, "not enabled"),
        ({f"{LINE}X_RegisterEnable": "false"}, "not to register"),
        ({f"{LINE}X_ServProvProfile": "Z"}, "none of A to H"),
        ({f"{LINE}X_ServProvProfile": "C"}, "no server"),
        ({f"{LINE}SIP.AuthUserName": ""}, "no AuthUserName"),
    ],
)
def test_why_a_port_has_no_line(change: dict[str, str], why: str) -> None:
    lines, reasons = lines_of({**services(), **change}, 1)
    assert lines == ()
    assert why in reasons[0]
