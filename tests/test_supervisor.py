"""Real processes, killed and stalled by PID: who is replaced, who is kept, and that nobody is left over."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provisioner.model import ListenerKind
from provisioner.run_directory import read_addresses

TINY = Path(__file__).parent / "tiny_server.py"


def wait_for(what: Callable[[], object], seconds: float = 10.0) -> object:
    """Ask again until the answer is true; the last answer stands in the failure."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"still {found!r} after {seconds} s"
        time.sleep(0.02)
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


class Server:
    """One tiny server on its own DATA."""

    def __init__(self, data: Path) -> None:
        self.data = data
        data.mkdir()
        self.log = data / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.configure()
        self.equip("one")

    def configure(self, **settings: object) -> None:
        tables = {"workers": 2, "drain": 5.0, "stall": 0.6, **settings}
        text = "[server]\n" + "".join(f"{key} = {value}\n" for key, value in tables.items())
        ports = "[device]\nport = 0\n[bootstrap]\nport = -1\n[admin]\nport = 0\n"
        (self.data / "provisioner.toml").write_text(text + ports)

    def equip(self, text: str) -> None:
        partial = self.data / "partial"
        partial.write_text(text)
        partial.replace(self.data / "equipment")

    def start(self) -> "Server":
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-W", "error", str(TINY), str(self.data)], stderr=log)
        return self

    def ready(self) -> "Server":
        wait_for(lambda: "workers serve (start)" in self.said() or self.running().poll() is not None)
        assert self.running().poll() is None, self.said()
        wait_for(lambda: self.state().get("workers"))
        return self

    def running(self) -> "subprocess.Popen[bytes]":
        assert self.process is not None
        return self.process

    def said(self) -> str:
        return self.log.read_text()

    def connect(self, kind: ListenerKind = ListenerKind.DEVICE) -> socket.socket:
        return socket.create_connection(read_addresses(self.data)[kind], timeout=10)

    def state(self) -> dict[str, object]:
        with self.connect(ListenerKind.ADMIN) as sock:
            text = sock.makefile().read()
        return dict(json.loads(text or "{}"))

    def workers(self) -> list[int]:
        found = self.state().get("workers", [])
        assert isinstance(found, list)
        return found

    def children(self) -> list[int]:
        pid = self.running().pid
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def stop(self) -> int:
        self.running().terminate()
        return self.running().wait(15)

    def tidy(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        children = self.children()
        self.process.kill()
        self.process.wait()
        for pid in children:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "data")
    yield made
    made.tidy()


def ask(sock: socket.socket, word: str = "who") -> tuple[int, str]:
    sock.sendall(word.encode() + b"\n")
    return listen(sock)


def listen(sock: socket.socket) -> tuple[int, str]:
    answer = b""
    while not answer.endswith(b"\n"):
        more = sock.recv(100)
        assert more, f"closed after {answer!r}"
        answer += more
    pid, text = answer.decode().strip(".\n").split()
    return int(pid), text


def test_as_many_workers_as_said_serve_and_the_addresses_are_told(server: Server) -> None:
    server.start().ready()
    assert len(server.workers()) == 2
    assert len(server.children()) == 3
    addresses = read_addresses(server.data)
    assert set(addresses) == {ListenerKind.DEVICE, ListenerKind.ADMIN}
    assert all(port > 0 for _, port in addresses.values())
    assert (server.data / "run" / "server.pid").read_text() == f"{server.running().pid}\n"
    assert server.stop() == 0
    assert read_addresses(server.data) == {}
    assert not (server.data / "run" / "server.pid").exists()


def test_a_killed_worker_is_replaced(server: Server) -> None:
    server.start().ready()
    victim, *_ = before = server.workers()
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: victim not in server.workers() and len(server.workers()) == 2)
    assert len(set(server.workers()) & set(before)) == 1
    assert "was killed by SIGKILL" in server.said()
    assert "buried 1" in server.said() or "buried 2" in server.said()
    with server.connect() as sock:
        assert ask(sock)[0] in server.workers()


def test_a_stalled_worker_is_replaced_and_the_log_says_where_it_stood(server: Server) -> None:
    server.start().ready()
    with server.connect() as sock:
        victim = ask(sock)[0]
        sock.sendall(b"stall\n")
        wait_for(lambda: not alive(victim))
        wait_for(lambda: len(server.workers()) == 2 and victim not in server.workers())
    said = server.said()
    assert "stood still for more than 0.6 s and was killed. It stood at:" in said
    assert "tiny_server.py" in said
    assert "in answer" in said


def test_a_dead_admin_process_is_replaced(server: Server) -> None:
    server.start().ready()
    workers = server.workers()
    (admin,) = set(server.children()) - set(workers)
    os.kill(admin, signal.SIGKILL)
    wait_for(lambda: set(server.children()) - set(workers) - {admin})
    wait_for(lambda: server.workers() == workers)


def test_sighup_brings_new_workers_and_keeps_open_connections(server: Server) -> None:
    server.start().ready()
    before = server.workers()
    with server.connect() as sock:
        first, _ = ask(sock)
        server.equip("two")
        server.running().send_signal(signal.SIGHUP)
        wait_for(lambda: "workers serve (SIGHUP)" in server.said())
        assert ask(sock) == (first, "one")
        with server.connect() as new:
            pid, text = ask(new)
            assert text == "two"
            assert pid not in before
        other = next(pid for pid in before if pid != first)
        wait_for(lambda: not alive(other))
        assert ask(sock) == (first, "one")
    wait_for(lambda: not alive(first))
    assert len(server.children()) == 3


def test_a_changed_file_is_a_reload(server: Server) -> None:
    server.start().ready()
    server.equip("two")
    wait_for(lambda: "workers serve (change of equipment)" in server.said())
    with server.connect() as sock:
        assert ask(sock)[1] == "two"
    time.sleep(2.5)
    assert server.said().count("change of equipment: starting") == 1


def test_bad_equipment_is_told_and_the_old_workers_stay(server: Server) -> None:
    server.start().ready()
    before = server.workers()
    server.equip("bad")
    server.running().send_signal(signal.SIGHUP)
    wait_for(lambda: "the equipment is bad; mend it" in server.said())
    assert server.workers() == before
    with server.connect() as sock:
        assert ask(sock)[1] == "one"
    server.equip("three")
    wait_for(lambda: "workers serve (change of equipment)" in server.said())


@pytest.mark.parametrize(
    ("text", "told"),
    [("odd", "ValueError: nobody thought of this"), ("gone", "went while it was read"), ("refused", "store is away")],
)
def test_equipment_that_cannot_be_built_for_whatever_reason_is_told(server: Server, text: str, told: str) -> None:
    server.start().ready()
    before = server.workers()
    server.equip(text)
    server.running().send_signal(signal.SIGHUP)
    wait_for(lambda: told in server.said())
    assert "served on" in server.said()
    assert server.workers() == before
    server.equip("three")
    wait_for(lambda: "workers serve (change of equipment)" in server.said())


@pytest.mark.slow
def test_trust_taken_back_ends_the_connections_of_all_earlier_workers(server: Server) -> None:
    server.start().ready()
    before = set(server.workers())
    with server.connect() as oldest:
        ask(oldest)
        server.equip("two")
        wait_for(lambda: not before & set(server.workers()))
        assert ask(oldest)[1] == "one", "a gentle reload"
        before |= set(server.workers())
        with server.connect() as older:
            assert ask(older)[1] == "two"
            server.equip("less")
            wait_for(lambda: "trust was taken back" in server.said())
            wait_for(lambda: not [pid for pid in before if alive(pid)])
    with server.connect() as fresh:
        assert ask(fresh)[1] == "less"


@pytest.mark.parametrize("text", ["refuse", "crash"])
def test_equipment_that_workers_cannot_use_is_given_up(server: Server, text: str) -> None:
    server.start().ready()
    before = server.workers()
    server.equip(text)
    server.running().send_signal(signal.SIGHUP)
    wait_for(lambda: "the ones before go on serving" in server.said())
    assert server.workers() == before
    server.equip("three")
    wait_for(lambda: "workers serve (change of equipment)" in server.said())


def test_a_worker_that_cannot_start_ends_the_server_with_one_line(server: Server) -> None:
    server.equip("refuse")
    assert server.start().running().wait(10) == 2
    assert server.said().count("this equipment cannot be used; bring another") == 1
    assert "Traceback" not in server.said()


def test_workers_that_die_at_once_are_tried_again_slowly(server: Server) -> None:
    server.equip("crash")
    server.start()
    wait_for(lambda: "workers die at once (see above); the next is tried in 5 s" in server.said())
    time.sleep(1)
    assert server.said().count("ended with code 1") == 5
    server.equip("one")
    assert server.stop() == 0


def test_sigterm_lets_a_slow_transfer_finish_and_refuses_new_callers(server: Server) -> None:
    server.start().ready()
    address = read_addresses(server.data)[ListenerKind.DEVICE]
    children = server.children()
    with server.connect() as sock:
        sock.sendall(b"slow\n")
        assert sock.recv(1) == b"."
        server.running().terminate()
        wait_for(lambda: "draining" in server.said())
        time.sleep(0.3)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=1)
        assert listen(sock)[1] == "one"
    assert server.running().wait(10) == 0
    assert not [pid for pid in children if alive(pid)]


def test_sigterm_does_not_wait_for_ever(server: Server) -> None:
    server.configure(drain=0.2)
    server.start().ready()
    with server.connect() as sock:
        children = server.children()
        ask(sock)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 5
    assert "did not leave in time and was killed" in server.said()
    assert not [pid for pid in children if alive(pid)]


def test_a_second_sigint_ends_it_at_once(server: Server) -> None:
    server.start().ready()
    with server.connect() as sock:
        ask(sock)
        server.running().send_signal(signal.SIGINT)
        wait_for(lambda: "draining" in server.said())
        server.running().send_signal(signal.SIGINT)
        assert server.running().wait(2) == 0


def test_when_the_control_process_is_killed_its_children_leave(server: Server) -> None:
    server.start().ready()
    children = server.children()
    assert len(children) == 3
    server.running().kill()
    server.running().wait()
    wait_for(lambda: not [pid for pid in children if alive(pid)])


def test_a_new_server_need_not_wait_for_workers_that_a_dead_one_left_draining(server: Server) -> None:
    server.start().ready()
    children = server.children()
    with server.connect() as sock:
        ask(sock)
        server.running().kill()
        server.running().wait()
        server.start()
        wait_for(lambda: server.said().count("workers serve (start)") == 2)
        assert [pid for pid in children if alive(pid)]
    wait_for(lambda: not [pid for pid in children if alive(pid)])
    assert server.stop() == 0


def test_a_second_server_on_the_same_data_is_refused(server: Server, tmp_path: Path) -> None:
    server.start().ready()
    command = [sys.executable, str(TINY), str(server.data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert f"another server (pid {server.running().pid}) already runs" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(server.workers()) == 2


def test_a_pid_file_left_by_a_power_cut_is_in_nobodys_way(server: Server) -> None:
    (server.data / "run").mkdir()
    (server.data / "run" / "server.pid").write_text(f"{os.getpid()}\n")
    server.start().ready()
    assert (server.data / "run" / "server.pid").read_text() == f"{server.running().pid}\n"


def test_a_frozen_machine_is_not_taken_for_stalled_workers(server: Server) -> None:
    server.start().ready()
    before = server.workers()
    pids = [server.running().pid, *server.children()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(1.5)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    time.sleep(1)
    assert server.workers() == before
