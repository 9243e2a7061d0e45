"""Yealink: boot files, common and device file, what is remembered, and what is synchronised."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scripted_server import Certificates, Reply, ScriptedServer, play

from provisioner.model import Mac
from provisioner.simulator import Flash, Outcome, Phone, Unreadable, boot, load_persona
from provisioner.simulator.yealink import last_wins, lines_of, read_boot, read_config, settle

MAC = Mac.parse("001565aabbcc")
HEADER = "#!version:1.0.0.1\n"
COMMON = HEADER + "local_time.time_zone = +1\naccount.1.display_name = common\n"
DEVICE = (
    HEADER
    + """# the reception
account.1.enable = 1
account.1.label = 2001
account.1.display_name = Reception = desk
account.1.user_name = 2001
account.1.auth_name = u2001
account.1.password = s3cret-1
account.1.sip_server.1.address = sip1.example.net
account.1.sip_server.1.port = 5061
account.1.sip_server.1.transport_type = 2
account.1.sip_server.2.address = sip2.example.net
"""
)
FILES = {"/y000000000066.cfg": COMMON, "/001565aabbcc.cfg": DEVICE}
NEW = [
    ("GET", "/001565aabbcc.boot"),
    ("GET", "/y000000000000.boot"),
    ("GET", "/y000000000066.cfg"),
    ("GET", "/001565aabbcc.cfg"),
]


def phone(certificates: Certificates, model: str = "T46S", **habits: object) -> Phone:
    own = {"certificate": certificates.certificate, "key": certificates.key, "trust": certificates.server_ca}
    settings = {"persona": load_persona("yealink", model), "mac": MAC, "retry_delay": 0.0, **own, **habits}
    return Phone(**settings)  # type: ignore[arg-type]  # each test names its own


@pytest.mark.asyncio
async def test_release_81_asks_for_boot_files_then_common_then_its_own(certificates: Certificates) -> None:
    async with ScriptedServer(play(FILES), certificates.context(required=True)) as server:
        report = await boot(phone(certificates), server.url)
    assert server.order == NEW
    assert {one.agent for one in server.asked} == {"Yealink SIP-T46S 66.86.0.20 00:15:65:aa:bb:cc"}
    assert (report.outcome, report.connections, report.faults) == (Outcome.REGISTERED, 1, ())
    [line] = report.lines
    assert (line.user, line.auth_user, line.secret) == ("2001", "u2001", "s3cret-1")
    assert (line.server, line.backup, line.transport) == ("sip1.example.net:5061", "sip2.example.net", "tls")
    assert line.display_name == "Reception = desk"  # the later file, and only the first = divides
    assert report.parameters["local_time.time_zone"] == "+1"


@pytest.mark.asyncio
async def test_release_80_knows_neither_boot_files_nor_static_names(certificates: Certificates) -> None:
    files = {
        "/y000000000028.cfg": HEADER + "static.syslog.enable = 1\nsyslog.enable = 1\n",
        "/001565aabbcc.cfg": DEVICE,
    }
    async with ScriptedServer(play(files)) as server:
        report = await boot(phone(certificates, "T46G", firmware="28.80.0.130"), server.url)
    assert server.order == [("GET", "/y000000000028.cfg"), ("GET", "/001565aabbcc.cfg")]
    assert server.asked[0].agent == "Yealink SIP-T46G 28.80.0.130 00:15:65:aa:bb:cc"
    assert report.parameters["syslog.enable"] == "1"
    assert "static.syslog.enable" not in report.parameters
    assert len(report.ignored) == 1


@pytest.mark.asyncio
async def test_the_firmware_decides_the_sequence_not_the_model(certificates: Certificates) -> None:
    async with ScriptedServer(play({})) as server:
        await boot(phone(certificates, "T46G"), server.url)
    assert server.order[0] == ("GET", "/001565aabbcc.boot")


@pytest.mark.asyncio
async def test_the_old_dect_base_has_its_own_user_agent(certificates: Certificates) -> None:
    async with ScriptedServer(play({})) as server:
        await boot(phone(certificates, "W52P"), server.url)
    assert server.order == [("GET", "/y000000000025.cfg"), ("GET", "/001565aabbcc.cfg")]
    assert server.asked[0].agent.startswith("W52P 25.72.")


@pytest.mark.asyncio
@pytest.mark.parametrize("own", [True, False])
async def test_a_boot_file_names_all_files_in_order(certificates: Certificates, own: bool) -> None:
    boot_file = (
        HEADER
        + 'include:config "site/$MAC.cfg"\ninclude:config <all.cfg>\ninclude:config "not.txt"\noverwrite_mode = 1\n'
    )
    name = "/001565aabbcc.boot" if own else "/y000000000000.boot"
    files = {name: boot_file, "/site/001565aabbcc.cfg": DEVICE, "/all.cfg": COMMON}
    async with ScriptedServer(play(files)) as server:
        report = await boot(phone(certificates), server.url)
    before = [] if own else NEW[:1]
    assert server.order == [*before, ("GET", name), ("GET", "/site/001565aabbcc.cfg"), ("GET", "/all.cfg")]
    assert report.lines[0].display_name == "common"
    assert any("not.txt" in note for note in report.notes)


@pytest.mark.asyncio
async def test_unchanged_files_are_not_applied_again(certificates: Certificates) -> None:
    flash = Flash()
    async with ScriptedServer(play(FILES)) as server:
        first = await boot(phone(certificates), server.url, flash)
        second = await boot(phone(certificates), server.url, flash)
        server.script = play({**FILES, "/y000000000066.cfg": COMMON + "lang.gui = German\n"})
        third = await boot(phone(certificates), server.url, flash)
    assert first.parameters
    assert second.parameters == {}
    assert "every file is unchanged: nothing was applied" in second.notes
    assert second.lines == first.lines == third.lines
    assert third.parameters["lang.gui"] == "German"


@pytest.mark.asyncio
@pytest.mark.parametrize(("mode", "left"), [("0", {"a.one": "1", "a.two": "2"}), ("1", {"a.two": "2"})])
async def test_overwrite_mode_resets_what_the_files_leave_out(
    certificates: Certificates, mode: str, left: dict[str, str]
) -> None:
    flash = Flash(parameters={"a.one": "1", "a.two": "old", "a.three": "3"})
    files = {
        "/001565aabbcc.boot": HEADER + f'include:config "a.cfg"\noverwrite_mode = {mode}\n',
        "/a.cfg": HEADER + "a.two = 2\na.one =\na.three = %NULL%\n",
    }
    async with ScriptedServer(play(files)) as server:
        await boot(phone(certificates), server.url, flash)
    assert flash.parameters == left


@pytest.mark.asyncio
async def test_what_is_synchronised_comes_down_and_goes_up(certificates: Certificates) -> None:
    sync = """static.auto_provision.custom.sync = 1
static.auto_provision.custom.protect = 1
static.auto_provision.custom.sync.path = {url}sync
static.auto_provision.local_calllog.backup.enable = 1
static.auto_provision.local_log.backup.enable = 1
"""
    async with ScriptedServer(play({}), certificates.context()) as server:
        server.script = play(
            {
                **FILES,
                "/001565aabbcc.cfg": DEVICE + sync.format(url=server.url),
                "/sync/001565aabbcc-local.cfg": HEADER + "account.1.display_name = mine\n",
            }
        )
        report = await boot(phone(certificates, local_changes={"b.key": "2", "a.key": "1"}), server.url)
    assert server.order[4:] == [
        ("GET", "/sync/001565aabbcc-local.cfg"),
        ("PUT", "/sync/001565aabbcc-local.cfg"),
        ("GET", "/001565aabbcc-contact.xml"),
        ("GET", "/001565aabbcc-calllog.xml"),
        ("PUT", "/001565aabbcc-boot.log"),
        ("PUT", "/001565aabbcc-sys.log"),
    ]
    assert report.lines[0].display_name == "mine"
    uploaded = server.asked[5].body
    assert read_config(uploaded) == ([("a.key", "1"), ("b.key", "2")], [])


@pytest.mark.asyncio
async def test_upload_by_post_when_the_configuration_says_so(certificates: Certificates) -> None:
    asks = "static.auto_provision.custom.sync = 1\nstatic.auto_provision.custom.upload_method = 1\n"
    async with ScriptedServer(play({**FILES, "/001565aabbcc.cfg": DEVICE + asks})) as server:
        report = await boot(phone(certificates, local_changes={"a": "1"}), server.url)
    assert ("POST", "/001565aabbcc-local.cfg") in server.order
    assert report.outcome is Outcome.REGISTERED


@pytest.mark.asyncio
async def test_a_certificate_named_inside_is_fetched_and_firmware_is_looked_at(certificates: Certificates) -> None:
    named = "static.trusted_certificates.url = ca.pem\nstatic.firmware.url = /fw/T46S.rom\n"
    files = {**FILES, "/001565aabbcc.cfg": DEVICE + named, "/ca.pem": certificates.server_ca.read_bytes()}
    flash = Flash()
    async with ScriptedServer(play(files)) as server:
        await boot(phone(certificates, check_firmware=True), server.url, flash)
    assert server.order[4:] == [("GET", "/ca.pem"), ("HEAD", "/fw/T46S.rom")]
    assert len(flash.certificates) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [403, 404])
async def test_without_its_own_file_it_is_refused_though_the_common_one_came(
    certificates: Certificates, status: int
) -> None:
    files = {"/y000000000066.cfg": COMMON, "/001565aabbcc.cfg": Reply(status=status)}
    async with ScriptedServer(play(files)) as server:
        report = await boot(phone(certificates), server.url)
    assert report.refused_because == f"001565aabbcc.cfg answered {status}"
    assert report.outcome is Outcome.REFUSED
    assert report.no_line_because == "no account is enabled"
    assert report.parameters["local_time.time_zone"] == "+1"


@pytest.mark.asyncio
async def test_a_file_without_the_version_line_is_a_fault(certificates: Certificates) -> None:
    async with ScriptedServer(play({**FILES, "/001565aabbcc.cfg": Reply(b"account.1.enable = 1\n")})) as server:
        report = await boot(phone(certificates), server.url)
    assert report.refused_because == "001565aabbcc.cfg: the first line is not #!version:1.0.0.1"
    assert len(report.faults) == 1


@pytest.mark.asyncio
async def test_the_mac_leaves_the_user_agent_when_told_to(certificates: Certificates) -> None:
    quiet = DEVICE + "static.auto_provision.user_agent_mac.enable = 0\n"
    flash = Flash()
    async with ScriptedServer(play({**FILES, "/001565aabbcc.cfg": quiet})) as server:
        await boot(phone(certificates), server.url, flash)
        await boot(phone(certificates), server.url, flash)
    assert server.asked[-1].agent == "Yealink SIP-T46S 66.86.0.20"


def test_the_last_occurrence_wins_and_null_resets() -> None:
    told = last_wins([[("a", "1"), ("b", "1"), ("a", "2")], [("b", "%NULL%"), ("c", "")]])
    assert told == {"a": "2", "b": "%NULL%", "c": ""}
    assert settle(told, {"b": "old", "c": "old", "d": "old"}, overwrite=False) == {"a": "2", "c": "old", "d": "old"}
    assert settle(told, {"b": "old", "c": "old", "d": "old"}, overwrite=True) == {"a": "2"}


def test_passwords_of_several_users_stand_side_by_side() -> None:
    name = "static.security.user_password"
    assert last_wins([[(name, "admin:one"), (name, "user:two"), (name, "admin:three")]]) == {
        f"{name} (admin)": "admin:three",
        f"{name} (user)": "user:two",
    }


def test_a_hole_in_the_numbers_does_not_matter() -> None:
    accounts = {
        f"account.{n}.{name}": value
        for n in (1, 3, 17)
        for name, value in (("enable", "1"), ("user_name", f"20{n}"), ("sip_server.1.address", "pbx"))
    }
    lines, why = lines_of(accounts, 16)
    assert [line.number for line in lines] == [1, 3]
    assert why == ["account 17 is not registered: the model has 16"]


def test_a_dect_base_takes_its_server_from_a_template() -> None:
    lines, _ = lines_of(
        {
            "account.2.enable": "1",
            "account.2.user_name": "202",
            "account.2.sip_server.template": "1",
            "template.1.sip_server.1.address": "pbx",
            "template.1.sip_server.1.transport_type": "1",
            "template.1.sip_server.2.address": "pbx2",
            "template.1.sip_server.2.port": "5070",
        },
        8,
    )
    assert [(one.number, one.server, one.transport, one.backup) for one in lines] == [(2, "pbx", "tcp", "pbx2:5070")]


def test_servers_in_the_oldest_spelling() -> None:
    old = {"enable": "1", "user_name": "9", "sip_server_host": "pbx", "sip_server_port": "5060", "transport": "1"}
    lines, _ = lines_of({f"account.1.{name}": value for name, value in old.items()}, 1)
    assert [(one.server, one.transport, one.auth_user) for one in lines] == [("pbx:5060", "tcp", "9")]


def test_an_account_without_server_or_user_is_named() -> None:
    lines, why = lines_of({"account.1.enable": "1", "account.2.enable": "1", "account.2.user_name": "2"}, 6)
    assert lines == ()
    assert why == [
        "account 1 is not registered: it has no user_name",
        "account 2 is not registered: it has no server",
    ]


@pytest.mark.parametrize(
    "body", [b"", b"\xef\xbb\xbf#!version:1.0.0.1\n", b"#!version:1.0.0.2\n", b"#!version:1.0.0.1\na = \xff\n"]
)
def test_bodies_that_are_no_configuration(body: bytes) -> None:
    with pytest.raises(Unreadable):
        read_config(body)


def test_a_boot_file_with_strange_lines() -> None:
    boot_file = read_boot(
        (HEADER + 'include:config "a.cfg"\nspecific_model.excluded_mode=0\noverwrite_mode = 7\nwhat\n').encode()
    )
    assert (boot_file.includes, boot_file.overwrite) == (("a.cfg",), False)
    assert boot_file.odd == ("overwrite_mode = 7", "what")


@pytest.mark.asyncio
async def test_a_place_to_synchronise_with_that_is_gone_does_not_undo_the_boot(certificates: Certificates) -> None:
    async with ScriptedServer(play({})) as gone:
        nowhere = gone.url
    asks = f"static.auto_provision.custom.sync = 1\nstatic.auto_provision.custom.sync.path = {nowhere}\n"
    async with ScriptedServer(play({**FILES, "/001565aabbcc.cfg": DEVICE + asks})) as server:
        report = await boot(phone(certificates), server.url)
    assert report.outcome is Outcome.REGISTERED
    assert report.parameters["account.1.enable"] == "1"
    assert any("goes on without the rest" in note for note in report.notes)
    assert [step.status for step in report.steps[4:]] == [0, 0, 0]


@pytest.mark.asyncio
async def test_a_bootstrap_hands_out_the_ca_and_the_way_and_nothing_else(certificates: Certificates) -> None:
    async with ScriptedServer(play(FILES), certificates.context(required=True)) as real:
        way = f"static.auto_provision.server.url = {real.url}\nstatic.trusted_certificates.url = ca.pem\n"
        first = {"/y000000000066.cfg": HEADER + way, "/ca.pem": certificates.server_ca.read_bytes()}
        async with ScriptedServer(play(first)) as plain:
            fresh = phone(certificates, trust=None)
            directly = await boot(fresh, real.url)
            stays = await boot(fresh, plain.url)
            goes = await boot(replace(fresh, follow=1), plain.url)
            plain.script = play({**first, "/ca.pem": b"no certificate"})
            lost = await boot(replace(fresh, follow=1), plain.url)
    assert "does not trust" in directly.refused_because
    assert (stays.outcome, stays.next_url) == (Outcome.IDLE, real.url)
    assert goes.outcome is Outcome.REGISTERED
    assert [step.path for step in goes.steps].count("001565aabbcc.cfg") == 2
    assert "does not trust" in lost.refused_because
    assert "the configuration brings a CA certificate that cannot be read" in lost.notes


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "way", ["ftp://elsewhere/", "https://:99999/", "%%%", "https://[", "https://a\0b/", "https://\u2100/"]
)
async def test_a_way_that_leads_nowhere_ends_in_the_report(certificates: Certificates, way: str) -> None:
    files = {**FILES, "/001565aabbcc.cfg": f"{DEVICE}static.auto_provision.server.url = {way}\n"}
    async with ScriptedServer(play(files)) as server:
        report = await boot(phone(certificates, follow=1), server.url)
    assert "a URL it cannot use" in report.refused_because
