"""Poly UCS: every order of requests that the phones are known to walk, and what they make of the files."""

from __future__ import annotations

import pytest
from scripted_server import Certificates, Reply, ScriptedServer, play

from provisioner.model import Mac
from provisioner.simulator import Flash, Outcome, Phone, boot, load_persona
from provisioner.simulator.poly import first_wins, lines_of, read_config, read_master, settle

MAC = Mac.parse("0004f2aabbcc")
VVX = load_persona("poly", "VVX 411")
MASTER = '<?xml version="1.0"?>\n<APPLICATION APP_FILE_PATH="" CONFIG_FILES="[PHONE_MAC_ADDRESS]-user.cfg"/>'
USER = """<provision reg.1.address="2001" reg.1.auth.userId="u2001" reg.1.auth.password="s3cret-1"
  reg.1.displayName="Reception &quot;A&quot;" reg.1.server.1.address="sip1.example.net" reg.1.server.1.port="5061"
  reg.1.server.1.transport="TLS" reg.1.server.2.address="sip2.example.net"/>"""
# As observed on a SoundPoint 550, with the licence and directory names that other phones add.
WHOLE = [
    ("GET", "/0004f2aabbcc.cfg"),
    ("GET", "/000000000000.cfg"),
    ("GET", "/0004f2aabbcc-user.cfg"),
    ("GET", "/0004f2aabbcc-phone.cfg"),
    ("GET", "/0004f2aabbcc-web.cfg"),
    ("GET", "/000000000000-license.cfg"),
    ("GET", "/0004f2aabbcc-license.cfg"),
    ("GET", "/0004f2aabbcc-directory.xml"),
    ("GET", "/000000000000-directory.xml"),
    ("PUT", "/0004f2aabbcc-app.log"),
]


def phone(certificates: Certificates, **habits: object) -> Phone:
    own = {"certificate": certificates.certificate, "key": certificates.key, "trust": certificates.server_ca}
    settings = {"persona": VVX, "mac": MAC, "retry_delay": 0.0, **own, **habits}
    return Phone(**settings)  # type: ignore[arg-type]  # each test names its own


@pytest.mark.asyncio
async def test_the_whole_sequence_over_mutual_tls(certificates: Certificates) -> None:
    files = {"/000000000000.cfg": MASTER, "/0004f2aabbcc-user.cfg": USER}
    async with ScriptedServer(play(files), certificates.context(required=True)) as server:
        report = await boot(phone(certificates), server.url)
    assert server.order == WHOLE
    assert {one.subject for one in server.asked} == {"0004F2AABBCC"}
    assert {one.agent for one in server.asked} == {
        "FileTransport PolycomVVX-VVX_411-UA/5.9.6.2327 Type/Application",
    }
    assert [step.status for step in report.steps] == [404, 200, 200, 404, 404, 404, 404, 404, 404, 201]
    assert (report.outcome, report.refused_because, report.connections) == (Outcome.REGISTERED, "", 1)
    assert report.tls_version == "TLSv1.2"
    assert report.certificate.startswith("CN=0004F2AABBCC")
    [line] = report.lines
    assert (line.number, line.user, line.auth_user, line.secret) == (1, "2001", "u2001", "s3cret-1")
    assert (line.server, line.backup, line.transport) == ("sip1.example.net:5061", "sip2.example.net", "tls")
    assert line.display_name == 'Reception "A"'
    assert report.faults == ()
    assert server.asked[-1].body


@pytest.mark.asyncio
async def test_the_seed_directory_is_asked_for_at_the_first_boot_only(certificates: Certificates) -> None:
    files = {"/000000000000.cfg": MASTER, "/0004f2aabbcc-user.cfg": USER}
    flash = Flash()
    async with ScriptedServer(play(files)) as server:
        first = await boot(phone(certificates), server.url, flash)
        server.asked.clear()
        second = await boot(phone(certificates), server.url, flash)
    assert server.order == [entry for entry in WHOLE if entry != ("GET", "/000000000000-directory.xml")]
    assert first.lines == second.lines
    assert first.digest != second.digest  # one request less


@pytest.mark.asyncio
async def test_its_own_directory_makes_the_seed_needless(certificates: Certificates) -> None:
    files = {
        "/000000000000.cfg": MASTER,
        "/0004f2aabbcc-user.cfg": USER,
        "/0004f2aabbcc-directory.xml": "<directory><item_list/></directory>",
    }
    async with ScriptedServer(play(files)) as server:
        await boot(phone(certificates), server.url)
    assert ("GET", "/000000000000-directory.xml") not in server.order


@pytest.mark.asyncio
async def test_its_own_master_comes_before_the_one_for_everybody(certificates: Certificates) -> None:
    files = {
        "/0004f2aabbcc.cfg": '<APPLICATION CONFIG_FILES="a.cfg, b.cfg" LOG_FILE_DIRECTORY="log" '
        'OVERRIDES_DIRECTORY="over/" CONTACTS_DIRECTORY="dir" LICENSE_DIRECTORY="lic"/>',
        "/a.cfg": '<a reg.1.address="first" reg.1.server.1.address="s"/>',
        "/b.cfg": '<b reg.1.address="second" reg.1.displayName="only here"/>',
    }
    async with ScriptedServer(play(files)) as server:
        report = await boot(phone(certificates), server.url)
    assert server.order == [
        ("GET", "/0004f2aabbcc.cfg"),
        ("GET", "/a.cfg"),
        ("GET", "/b.cfg"),
        ("GET", "/over/0004f2aabbcc-phone.cfg"),
        ("GET", "/over/0004f2aabbcc-web.cfg"),
        ("GET", "/lic/000000000000-license.cfg"),
        ("GET", "/lic/0004f2aabbcc-license.cfg"),
        ("GET", "/dir/0004f2aabbcc-directory.xml"),
        ("GET", "/dir/000000000000-directory.xml"),
        ("PUT", "/log/0004f2aabbcc-app.log"),
    ]
    assert report.parameters["reg.1.address"] == "first"
    assert report.lines[0].display_name == "only here"


@pytest.mark.asyncio
async def test_the_updater_walks_first_and_looks_for_firmware_by_part_number(certificates: Certificates) -> None:
    master = MASTER.replace('APP_FILE_PATH=""', 'APP_FILE_PATH="fw/sip.ld"')
    files = {"/000000000000.cfg": master, "/0004f2aabbcc-user.cfg": USER}
    async with ScriptedServer(play(files)) as server:
        report = await boot(phone(certificates, updater=True), server.url)
    assert server.order[:5] == [*WHOLE[:3], ("HEAD", "/fw/3111-48450-001.sip.ld"), WHOLE[0]]
    assert server.order[4:] == WHOLE
    assert [one.agent.rpartition("/")[2] for one in server.asked[:5]] == ["Updater"] * 4 + ["Application"]
    assert any("no firmware image" in note for note in report.notes)


@pytest.mark.asyncio
async def test_overrides_lie_above_the_server_and_the_menu_above_the_web_page(certificates: Certificates) -> None:
    files = {
        "/000000000000.cfg": MASTER,
        "/0004f2aabbcc-user.cfg": '<x a.one="server" a.two="server" a.three="server"/>',
        "/0004f2aabbcc-web.cfg": '<x a.one="web" a.two="web"/>',
        "/0004f2aabbcc-phone.cfg": '<x a.one="phone"/>',
    }
    async with ScriptedServer(play(files)) as server:
        report = await boot(phone(certificates), server.url)
    assert dict(report.parameters) == {"a.one": "phone", "a.two": "web", "a.three": "server"}


@pytest.mark.asyncio
async def test_what_its_user_changed_is_uploaded_unless_it_is_told_not_to(certificates: Certificates) -> None:
    files = {"/000000000000.cfg": MASTER, "/0004f2aabbcc-user.cfg": USER}
    changed = phone(certificates, local_changes={"up.x": 'a"<&b\n'})
    async with ScriptedServer(play(files)) as server:
        await boot(changed, server.url)
        assert server.order[-1] == ("PUT", "/0004f2aabbcc-phone.cfg")
        assert read_config(server.asked[-1].body) == {"up.x": 'a"<&b\n'}
        quiet = USER.replace("/>", ' prov.autoConfigUpload.enabled="0" feature.logUpload.enabled="0"/>')
        server.script = play({**files, "/0004f2aabbcc-user.cfg": quiet})
        server.asked.clear()
        await boot(changed, server.url)
    assert {method for method, _ in server.order} == {"GET"}


@pytest.mark.asyncio
async def test_no_master_means_refused_and_the_stored_settings_go_on(certificates: Certificates) -> None:
    files = {"/000000000000.cfg": MASTER, "/0004f2aabbcc-user.cfg": USER}
    flash = Flash()
    async with ScriptedServer(play(files)) as server:
        await boot(phone(certificates), server.url, flash)
        server.script = play({})
        server.asked.clear()
        report = await boot(phone(certificates), server.url, flash)
    assert server.order == WHOLE[:2]
    assert report.outcome is Outcome.REFUSED
    assert report.refused_because == "000000000000.cfg answered 404"
    assert [line.user for line in report.lines] == ["2001"]
    assert report.parameters == {}


@pytest.mark.asyncio
async def test_a_server_that_refuses_its_own_file_is_named(certificates: Certificates) -> None:
    files = {"/000000000000.cfg": MASTER, "/0004f2aabbcc-user.cfg": Reply(status=403)}
    async with ScriptedServer(play(files)) as server:
        report = await boot(phone(certificates), server.url)
    assert report.refused_because == "0004f2aabbcc-user.cfg answered 403"
    assert report.lines == ()


@pytest.mark.asyncio
async def test_a_thief_asks_for_another_phones_files_under_its_own_certificate(certificates: Certificates) -> None:
    files = {"/000000000000.cfg": MASTER}
    thief = phone(certificates, ask_for=Mac.parse("0004f2ffffff"))
    async with ScriptedServer(play(files), certificates.context(required=True)) as server:
        report = await boot(thief, server.url)
    assert server.order[0] == ("GET", "/0004f2ffffff.cfg")
    assert server.order[2] == ("GET", "/0004f2ffffff-user.cfg")
    assert server.asked[0].subject == "0004F2AABBCC"
    assert report.outcome is Outcome.REFUSED


@pytest.mark.asyncio
async def test_the_serial_tag_shows_from_the_boot_after_it_was_set(certificates: Certificates) -> None:
    tagged = USER.replace("/>", ' device.set="1" device.prov.tagSerialNo="1" device.prov.tagSerialNo.set="1"/>')
    files = {"/000000000000.cfg": MASTER, "/0004f2aabbcc-user.cfg": tagged}
    flash = Flash()
    async with ScriptedServer(play(files)) as server:
        await boot(phone(certificates), server.url, flash)
        assert "(SN:" not in server.asked[0].agent
        server.asked.clear()
        await boot(phone(certificates), server.url, flash)
    assert "-UA/5.9.6.2327 (SN:0004f2aabbcc) Type/Application" in server.asked[0].agent


@pytest.mark.asyncio
async def test_an_explicit_master_in_the_url_is_asked_for_first(certificates: Certificates) -> None:
    files = {"/p/site.cfg": MASTER, "/p/0004f2aabbcc-user.cfg": USER}
    async with ScriptedServer(play(files)) as server:
        report = await boot(phone(certificates), f"{server.url}p/site.cfg")
    assert server.order[:2] == [("GET", "/p/site.cfg"), ("GET", "/p/0004f2aabbcc-user.cfg")]
    assert report.outcome is Outcome.REGISTERED


@pytest.mark.asyncio
async def test_it_goes_on_to_the_address_a_bootstrap_gives_when_asked_to(certificates: Certificates) -> None:
    files = {"/000000000000.cfg": MASTER, "/0004f2aabbcc-user.cfg": USER}
    async with ScriptedServer(play(files), certificates.context(required=True)) as real:
        first = f"""<x device.set="1" device.prov.serverType="3" device.prov.serverType.set="1"
          device.prov.serverName="127.0.0.1:{real.port}" device.prov.serverName.set="1"/>"""
        bootstrap = {"/000000000000.cfg": '<APPLICATION CONFIG_FILES="start.cfg"/>', "/start.cfg": first}
        async with ScriptedServer(play(bootstrap)) as plain:
            stays = await boot(phone(certificates), plain.url)
            goes = await boot(phone(certificates, follow=1), plain.url)
    assert (stays.outcome, stays.next_url) == (Outcome.IDLE, f"https://127.0.0.1:{real.port}")
    assert stays.no_line_because == "reg.1.address is missing"
    assert goes.outcome is Outcome.REGISTERED
    assert real.order == [entry for entry in WHOLE if entry != ("GET", "/000000000000-directory.xml")]


@pytest.mark.asyncio
async def test_a_ca_in_an_attribute_is_trusted_though_its_line_breaks_are_gone(certificates: Certificates) -> None:
    ca = certificates.server_ca.read_text()
    files = {
        "/000000000000.cfg": MASTER,
        "/0004f2aabbcc-user.cfg": f'''<x device.set="1" device.sec.TLS.customCaCert1="{ca}"
          device.sec.TLS.customCaCert1.set="1"/>''',
    }
    flash = Flash()
    async with ScriptedServer(play(files)) as plain:
        await boot(phone(certificates), plain.url, flash)
    assert flash.certificates == [ca]
    async with ScriptedServer(play(files), certificates.context()) as server:
        report = await boot(phone(certificates, trust=None), server.url, flash)
    assert report.outcome is Outcome.IDLE


@pytest.mark.asyncio
async def test_a_broken_file_is_a_fault_and_nothing_of_it_is_applied(certificates: Certificates) -> None:
    files = {"/000000000000.cfg": MASTER, "/0004f2aabbcc-user.cfg": '<x a.b="1" a.b="2"/>'}
    async with ScriptedServer(play(files)) as server:
        report = await boot(phone(certificates), server.url)
    assert report.parameters == {}
    assert report.refused_because.startswith("0004f2aabbcc-user.cfg: not well-formed XML")
    assert len(report.faults) == 1


def test_a_master_overrides_by_model() -> None:
    body = b"""<APPLICATION APP_FILE_PATH="sip.ld" CONFIG_FILES="all.cfg" LOG_FILE_DIRECTORY="logs">
      <APPLICATION_VVX411 APP_FILE_PATH_VVX411="vvx/sip.ld"
        CONFIG_FILES_VVX411="vvx.cfg,[MACADDRESS]-[PHONE_MODEL].cfg"/>
      <APPLICATION_SPIP331 CONFIG_FILES_SPIP331="old.cfg" LOG_FILE_DIRECTORY_SPIP331="elsewhere"/></APPLICATION>"""
    own = read_master(body, VVX, MAC)
    assert own.config_files == ("vvx.cfg", "0004f2aabbcc-VVX411.cfg")
    assert (own.app_file, own.logs) == ("vvx/sip.ld", "logs/")
    assert read_master(body, load_persona("poly", "VVX 601"), MAC).config_files == ("all.cfg",)
    assert read_master(body, load_persona("poly", "SPIP_331"), MAC).logs == "elsewhere/"


def test_the_first_occurrence_wins_within_a_file_and_between_files() -> None:
    body = b'<r a="1"><b a="2" c="3"/><d c="4"/></r>'
    assert read_config(body) == {"a": "1", "c": "3"}
    assert first_wins([{"a": "1"}, {"a": "2", "b": "2"}]) == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("extra", "heeded"),
    [
        ({"device.set": "1", "device.net.vlanId.set": "1"}, True),
        ({"device.net.vlanId.set": "1"}, False),
        ({"device.set": "0", "device.net.vlanId.set": "1"}, False),
        ({"device.set": "1"}, False),
        ({"device.set": "1", "device.net.vlanId.set": "0"}, False),
    ],
)
def test_device_values_need_their_set_twins(extra: dict[str, str], heeded: bool) -> None:
    kept, ignored = settle({"device.net.vlanId": "7", "up.x": "1", **extra})
    assert kept == ({"device.net.vlanId": "7", "up.x": "1"} if heeded else {"up.x": "1"})
    assert bool(ignored) is not heeded


def registration(*numbers: int) -> dict[str, str]:
    return {
        f"reg.{n}.{name}": value
        for n in numbers
        for name, value in (("address", f"20{n}"), ("server.1.address", "sip.example.net"))
    }


@pytest.mark.parametrize(
    ("numbers", "most", "registered"),
    [((1, 2, 3), 6, [1, 2, 3]), ((1, 3, 4), 6, [1]), ((2,), 6, []), ((1, 2, 3), 2, [1, 2]), ((), 6, [])],
)
def test_a_hole_in_the_numbers_ends_the_lines(numbers: tuple[int, ...], most: int, registered: list[int]) -> None:
    lines, why = lines_of(registration(*numbers), most)
    assert [line.number for line in lines] == registered
    assert bool(why) is (len(registered) < len(numbers) or not numbers)


def test_a_line_without_server_or_told_not_to_register_does_not() -> None:
    silent = {**registration(1, 2), "reg.1.server.1.register": "0", "reg.2.server.1.address": ""}
    lines, why = lines_of(silent, 6)
    assert lines == ()
    assert len(why) == 2
    shared = {**silent, "voIpProt.server.1.address": "pbx", "voIpProt.server.1.port": "5070"}
    assert [line.server for line in lines_of(shared, 6)[0]] == ["pbx:5070"]
