"""Second opinions on the same frames: tshark's where it is installed, and scapy's always."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import trustme
from kept import HELD_OUT, Kept, kept
from read_here import facts, of, one
from wire import DHCP_IP, PHONE, PHONE_IP, Talk, Tape, boot, dhcp, ip, option, spoken, told, udp

from provisioner.capture.course import Course
from provisioner.capture.exhibits import exhibits
from provisioner.capture.files import of_paths
from provisioner.evidence import program
from provisioner.model import Mac


def tshark(path: Path, *names: str, only: str) -> list[dict[str, str]]:
    """Fields of the frames that a display filter lets through; nothing where there is no tshark."""
    if shutil.which("tshark") is None:
        told("tshark is not installed; scapy alone gives a second opinion.")
        return []
    words = [word for name in names for word in ("-e", name)]
    command = ["tshark", "-r", str(path), "-Y", only, "-T", "json", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    layers = [each["_source"]["layers"] for each in json.loads(done.stdout)]
    return [{name: ",".join(each.get(name, [])) for name in names} for each in layers]


def fields(path: Path, number: int, *names: str) -> list[str]:
    """scapy's, by their names."""
    return [next(value for _, each, value in shown(path, number) if each == name) for name in names]


def shown(path: Path, number: int) -> list[list[str]]:
    exhibit = next(exhibits([path], [f"{path.name} frame {number}"]))
    assert not exhibit["broken"] and isinstance(exhibit["fields"], list)
    return exhibit["fields"]


def agree(ours: Sequence[str], theirs: Sequence[Sequence[str]]) -> None:
    for each in theirs:
        assert list(each) == list(ours)


def test_a_lease(tmp_path: Path) -> None:
    tape = Tape()
    options = (option(66, b"https://prov.example.net/"), option(6, bytes([10, 0, 0, 2])), option(51, b"\0\0\1\0"))
    tape.down(ip(DHCP_IP, PHONE_IP, 17, udp(67, 68, dhcp(5, *options, yours=PHONE_IP, op=2))))
    found = one(facts(tmp_path, tape), "dhcp")
    path = tmp_path / "side0.pcap"
    names = ("dhcp.ip.your", "dhcp.option.tftp_server_name", "dhcp.option.ip_address_lease_time")
    rows = tshark(path, *names, only="dhcp")
    agree([found["address"], found["option_66"], found["lease"]], [[each[name] for name in names] for each in rows])
    assert fields(path, 1, "yiaddr") == [found["address"]]
    assert "tftp_server_name=b'https://prov.example.net/'" in str(shown(path, 1))


def test_names_and_ports(tmp_path: Path) -> None:
    found = facts(tmp_path, boot())
    path = tmp_path / "side0.pcap"
    rows = tshark(path, "dns.qry.name", "dns.a", only="dns.flags.response == 1")
    answer = one(found, "dns", type="answer")
    agree([answer["name"], answer["addresses"]], [list(each.values()) for each in rows])
    rows = tshark(path, "http.request.uri", "http.user_agent", only="http.request")
    request = one(found, "request")
    agree([request["path"], request["user_agent"]], [list(each.values()) for each in rows])


def test_the_voice_vlan(tmp_path: Path) -> None:
    found = one(facts(tmp_path, boot()), "vlan_offered")
    rows = tshark(tmp_path / "side0.pcap", "lldp.media.vlan_id", "lldp.media.dscp", only="lldp")
    agree([found["vlan"], found["dscp"]], [list(each.values()) for each in rows])
    assert fields(tmp_path / "side0.pcap", 1, "system_name") == ["b'sw-3'"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_handshake(tmp_path: Path, version: ssl.TLSVersion) -> None:
    ca = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.issue_cert("prov.example.net").configure_cert(server)
    server.maximum_version = server.minimum_version = version
    tape = Tape()
    Talk(tape).open().flow(spoken(client, server)).close()
    found = facts(tmp_path, tape)
    path = tmp_path / "side0.pcap"
    rows = tshark(path, "tls.handshake.extensions_server_name", only="tls.handshake.type == 1")
    agree([one(found, "hello")["sni"]], [list(each.values()) for each in rows])
    rows = tshark(path, "tls.alert_message.desc", only="tls.alert_message.desc")
    agree([one(found, "alert")["code"]], [list(each.values()) for each in rows])
    assert one(found, "alert")["name"] == "unknown_ca"


def test_what_was_cut_out_is_a_capture_for_others_too(tmp_path: Path) -> None:
    path = boot().save(tmp_path / "a.pcap")
    made = program.cut([path], Mac(PHONE), tmp_path).file
    rows = tshark(made, "frame.number", only="frame")
    kept = list(of_paths([made])[0].frames())
    assert not rows or len(rows) == len(kept)
    assert len(kept) > 15 and shown(made, len(kept))


SAME = (
    ("answer", "status", "http.response.code"),
    ("request", "user_agent", "http.user_agent"),
    ("alert", "code", "tls.alert_message.desc"),
    ("hello", "sni", "tls.handshake.extensions_server_name"),
    ("tftp", "file", "tftp.source_file"),
    ("dns", "name", "dns.qry.name"),
    ("eap", "code", "eap.code"),
    ("chain", "length", "tls.handshake.certificate_length"),
    ("register", "status", "sip.Status-Code"),
)
EAP_CODES = {"request": "1", "response": "2", "success": "3", "failure": "4"}
ALSO = "sip.CSeq.method"
OTHERWISE = {
    ("file_is_short", "answer"): "tshark tells nothing of an answer that is cut short",
    ("http_short", "answer"): "the same",
    ("http_chunks_cut", "answer"): "the same",
    ("http_firmware_cut", "answer"): "the same",
    ("http_phone_killed", "answer"): "the same",
    ("packets_are_lost", "answer"): "the same, in the midst of repeated segments",
    ("http_upload_refused", "request"): "tshark tells nothing of a request whose body is not sent",
    ("dns_is_not_there", "dns"): "tshark reads the question again in the ICMP message that returns it",
    ("dns_is_forbidden", "dns"): "the same",
    ("http_on_the_port", "answer"): "an answer in clear to a ClientHello is a refusal, and told as such",
    ("tls_plain_port", "answer"): "the same",
}


def our_words(kind: str, each: dict[str, str]) -> str:
    """What this program says, as tshark says it."""
    if kind == "eap":
        return EAP_CODES.get(each["code"], "")
    hidden = kind == "chain" and (each.get("sure") == "no" or each.get("length") == "0")
    other = kind == "tftp" and each.get("type") == "error"
    return "" if hidden or other else each.get(dict((a, b) for a, b, _ in SAME)[kind], "")


def their_words(kind: str, field: str, each: dict[str, str]) -> str:
    if kind == "chain":
        return str(len(each[field].split(","))) if each[field] else ""
    return "" if kind == "register" and each[ALSO] != "REGISTER" else each[field]


@pytest.mark.slow
@pytest.mark.parametrize("one", [*kept(), *kept(HELD_OUT)], ids=str)
def test_every_kept_capture_is_read_as_tshark_reads_it(one: Kept) -> None:
    """What is said in it, in its order, wherever both have a word for it."""
    fields_of = [field for _, _, field in SAME]
    rows = tshark(one.path, *fields_of, ALSO, only=" or ".join(fields_of))
    found = Course([one.path]).facts(bytes.fromhex(one.mac))
    for kind, _, field in SAME:
        ours = [said for each in of(found, kind) if (said := our_words(kind, each))]
        theirs = [said for each in rows if (said := their_words(kind, field, each))]
        if shutil.which("tshark") and (one.path.stem, kind) not in OTHERWISE:
            assert ours == theirs, kind
