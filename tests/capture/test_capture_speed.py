"""How fast and how small: a hundred thousand packets, a gigabyte, and an interface at full speed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import trustme
from wire import BEGIN, DHCP_IP, PHONE, PHONE_IP, ROUTER, Talk, Tape, boot, eth, ip, pcap, question, spoken, told, udp

from provisioner.capture.files import of_paths
from provisioner.diagnosis.facts import Kind
from provisioner.evidence import program
from provisioner.model import Mac

PACKETS = 100_000
CPU = 5.0
MEMORY = 100 << 20
GIGABYTE = 1 << 30
RATE, FOR, OURS = 20_000, 3, 200


def handshake() -> list[tuple[str, bytes]]:
    ca = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.issue_cert("prov.example.net").configure_cert(server)
    ca.issue_cert(common_name="0004F2AABBCC").configure_cert(client)
    ca.configure_trust(client)
    ca.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    return list(spoken(client, server, request=b"GET / HTTP/1.1\r\n\r\n", answer=b"a" * 4000))


def crowd() -> list[tuple[float, bytes]]:
    """Mostly handshakes: every tenth is the phone's."""
    turns, tapes = handshake(), {}
    for ours in (True, False):
        tapes[ours] = boot(Tape(phone=PHONE if ours else "001565000001")) if ours else Tape(phone="001565000001")
        for sport in range(20_000, 20_050):
            Talk(tapes[ours], phone="10.0.0.5" if ours else "10.0.0.6", sport=sport).open().flow(turns).close()
    mine, theirs = (tapes[one].frames for one in (True, False))
    frames = list(mine)
    while len(frames) < PACKETS:
        frames.extend(theirs[: PACKETS - len(frames)])
    return frames


MEASURE = """
import json, os, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
lines = sum(1 for _ in child.stdout)
_, status, used = os.wait4(child.pid, 0)
print(json.dumps([status, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, lines]))
"""
"""In a process between: a child is charged with the memory of whoever has forked it, and that would be pytest's."""


def run(path: Path) -> tuple[float, int, int]:
    """CPU seconds, bytes of memory and lines."""
    command = [sys.executable, "-I", "-m", "provisioner.capture", "read", "--mac", PHONE, str(path)]
    done = subprocess.run([sys.executable, "-I", "-c", MEASURE, *command], capture_output=True, timeout=110, check=True)
    status, cpu, memory, lines = json.loads(done.stdout)
    assert status == 0
    return cpu, memory, lines


@pytest.mark.slow
def test_a_hundred_thousand_packets(tmp_path: Path) -> None:
    path = tmp_path / "crowd.pcap"
    path.write_bytes(pcap(crowd()))
    cpu, memory, lines = run(path)
    told(f"{PACKETS} packets, {path.stat().st_size >> 20} MB: {cpu:.2f} s of CPU, {memory >> 20} MB, {lines} lines")
    assert lines > 50 * 6
    assert cpu <= CPU
    assert memory < MEMORY


@pytest.mark.slow
def test_a_gigabyte(tmp_path: Path) -> None:
    """Somebody else's download, in which the phone boots."""
    other = Tape(phone="001565000001")
    Talk(other, port=80, phone="10.0.0.6", size=9000).open().flow(
        [("phone", b"GET / HTTP/1.1\r\n\r\n"), ("server", bytes(1 << 22))]
    )
    head, bulk = pcap(boot().frames), pcap(other.frames)[24:]
    path = tmp_path / "large.pcap"
    with path.open("wb") as stream:
        stream.write(head)
        while stream.tell() < GIGABYTE:
            stream.write(bulk)
    cpu, memory, lines = run(path)
    told(f"1 GB: {cpu:.2f} s of CPU, {memory >> 20} MB, {lines} lines")
    path.unlink()
    assert memory < MEMORY and lines > 10


@pytest.mark.slow
@pytest.mark.parametrize("by", ["dumpcap", "tcpdump", "socket"])
def test_whoever_takes_the_frames_loses_none(tmp_path: Path, by: str) -> None:
    """The last one as well: it comes just before the end."""
    if os.getuid() != 0 or (by != "socket" and shutil.which(by) is None):
        told(f"{by} is not installed, or may take no frames here.")
        return
    begun, taken = threading.Event(), []

    def take() -> None:
        words = {"seconds": 4.0, "by": by, "told": lambda _: begun.set()}
        taken.append(program.live("lo", tmp_path / "ring", Mac(PHONE), **words))  # type: ignore[arg-type]

    thread = threading.Thread(target=take)
    thread.start()
    assert begun.wait(10)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("lo", 0))
        for number in range(36):
            raw.send(asking(number, *((120,) if number % 2 else ())))
            raw.send(boot(Tape(phone="001565000001")).frames[-1][1])
            time.sleep(0.1)
    thread.join(30)
    facts = program.facts_of(taken[0].files, Mac(PHONE))
    found = {one["name"] for one in facts if one.kind is Kind.DNS}
    assert {one["vlan"] for one in facts if one.kind is Kind.VLAN_USED} == {"0", "120"}
    assert taken[0].by == by and taken[0].dropped == 0
    late = {f"n{number}.example" for number in range(22, 34)}  # the program takes a moment to begin
    assert late <= found
    macs = {frame.data[6:12].hex() for file in of_paths(taken[0].files) for frame in file.frames()}
    assert PHONE in macs and "001565000001" not in macs


@pytest.mark.slow
def test_a_real_connection_is_taken_and_read(tmp_path: Path) -> None:
    """The kernel's own TCP, with segments as large as it likes, found by the name in the certificate."""
    if os.getuid() != 0:
        told("Taking frames needs CAP_NET_RAW.")
        return
    ca, listener = trustme.CA(), socket.create_server(("127.0.0.1", 0))
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.issue_cert("prov.example.net").configure_cert(server)
    ca.issue_cert(common_name="0004F2AABBCC").configure_cert(client)
    for context in (server, client):
        ca.configure_trust(context)
    server.verify_mode, server.maximum_version = ssl.CERT_REQUIRED, ssl.TLSVersion.TLSv1_2
    begun, taken = threading.Event(), []

    def take() -> None:
        taken.append(program.live("lo", tmp_path / "ring", seconds=3.0, by="socket", told=lambda _: begun.set()))

    def serve() -> None:
        with listener, server.wrap_socket(listener.accept()[0], server_side=True) as one:
            one.recv(1000)
            one.sendall(bytes(200_000))

    threads = [threading.Thread(target=each) for each in (take, serve)]
    for each in threads:
        each.start()
    assert begun.wait(10)
    time.sleep(1.0)
    with client.wrap_socket(
        socket.create_connection(listener.getsockname()), server_hostname="prov.example.net"
    ) as one:
        one.sendall(b"GET /x HTTP/1.1\r\n\r\n")
        while one.recv(65536):
            pass
    for each in threads:
        each.join(20)
    facts = program.facts_of(taken[0].files, Mac(PHONE))
    kinds = {one.kind: one for one in facts}
    assert kinds[Kind.HELLO]["sni"] == "prov.example.net" and kinds[Kind.TLS_DONE]["version"] == "TLSv1.2"
    assert {one["by"]: one["subject"][-12:] for one in facts if one.kind is Kind.CHAIN}["phone"] == "0004F2AABBCC"
    assert int(kinds[Kind.CLOSED]["bytes"]) > 200_000
    assert not {Kind.STALLED, Kind.RETRANSMITTED, Kind.DROPPED, Kind.BROKEN, Kind.TLS_REFUSED} & set(kinds)


@pytest.mark.slow
def test_live_at_full_speed_loses_none_of_the_phones_frames(tmp_path: Path) -> None:
    """On the loopback interface, which has Ethernet headers too: sent by a raw socket, at twenty thousand a second."""
    if os.getuid() != 0:
        told("Taking frames needs CAP_NET_RAW; what is told without it is tested in test_capture_program.")
        return
    taken: list[program.Taken] = []
    begun = threading.Event()

    def take() -> None:
        taken.append(
            program.live("lo", tmp_path / "ring", Mac(PHONE), seconds=FOR + 3, by="socket", told=lambda _: begun.set())
        )

    thread = threading.Thread(target=take)
    thread.start()
    assert begun.wait(10)
    time.sleep(1.0)
    send()
    thread.join(60)
    assert taken[0].dropped == 0
    assert taken[0].frames >= OURS
    found = [one for one in program.facts_of(taken[0].files, Mac(PHONE)) if one.kind is Kind.DNS]
    told(f"{taken[0].frames} frames kept; {len(found)} of {OURS} of the phone's")
    assert len({one["name"] for one in found}) == OURS


def send() -> None:
    """The phone asks for one name after the other in a flood of others' frames."""
    other = boot(Tape(phone="001565000001")).frames[-8][1]
    every = RATE * FOR // OURS
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("lo", 0))
        begin = time.monotonic()
        for number in range(RATE * FOR):
            raw.send(asking(number // every) if number % every == 0 else other)
            if number % 200 == 0 and (ahead := begin + number / RATE - time.monotonic()) > 0:
                time.sleep(ahead)


def asking(number: int, *vlans: int) -> bytes:
    return eth(ROUTER, PHONE, 0x0800, ip(PHONE_IP, DHCP_IP, 17, udp(5300, 53, question(f"n{number}.example"))), *vlans)


def test_ticks_of_a_second_are_kept(tmp_path: Path) -> None:
    """Nanoseconds in, and the time of the frame out, as far as a float holds it."""
    path = Tape(frames=[(BEGIN + 0.123456, struct.pack("!6s6sH", b"\1" * 6, bytes.fromhex(PHONE), 0x0806))]).save(
        tmp_path / "n.pcap", nano=True
    )
    assert program.facts_of([path], Mac(PHONE))[0].at == pytest.approx(BEGIN + 0.123456, abs=1e-6)


@pytest.mark.slow
def test_a_phone_behind_a_router_is_taken_by_its_address_and_with_a_doubt() -> None:
    """No frame has its MAC: it may have been its neighbour behind the same address."""
    if os.getuid() != 0:
        told("Taking frames needs CAP_NET_RAW; the filter itself is tested in test_capture_filters.")
        return
    begun, found = threading.Event(), []
    listener = socket.create_server(("127.0.0.1", 0))
    port = str(listener.getsockname()[1])

    def take() -> None:
        words = {"addresses": ["127.0.0.1", "2001:db8::/64"], "told": lambda _: begun.set()}
        found.extend(program.live_facts("lo", Mac(PHONE), 4.0, **words))  # type: ignore[arg-type]  # of several kinds

    thread = threading.Thread(target=take)
    thread.start()
    with listener:
        assert begun.wait(10)
        while thread.is_alive():
            socket.create_connection(listener.getsockname()).close()
            time.sleep(0.2)
    thread.join(30)
    assert [one for one in found if one.kind is Kind.SYN and one["port"] == port]
    assert {one["whose"] for one in found if one["connection"]} == {"maybe"}
