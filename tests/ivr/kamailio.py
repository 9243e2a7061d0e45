"""Kamailio as the proxy in front of the voice menu, a process of its own: it writes down what it passes on."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.2"
"""Of its own, so that its messages are told from the phones'."""

_CONFIG = """#!KAMAILIO
log_stderror=yes
debug=0
children=1
disable_tcp=yes
auto_aliases=no
listen=udp:@HOST@:@PORT@

loadmodule "pv.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "path.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "xlog.so"
modparam("xlog", "methods_filter", 0)

request_route {
    if (!mf_process_maxfwd_header("10")) {
        sl_send_reply("483", "Too Many Hops");
        exit;
    }
    xlog("L_ALERT", "passed $rm from $si:$sp\\n");
    if (is_method("CANCEL")) {
        if (t_check_trans()) t_relay();
        exit;
    }
    if (has_totag()) {
        if (loose_route() || t_check_trans()) t_relay();
        else if (!is_method("ACK")) sl_send_reply("404", "No Way There");
        exit;
    }
    if ($sp == @SERVER@) {
        # out of a dialog, by the Path that the phone registered with; such a Route makes loose_route() no truer
        if (!is_present_hf("Route")) {
            sl_send_reply("403", "No Path");
            exit;
        }
        loose_route();
        t_relay();
        exit;
    }
    if (is_method("REGISTER")) add_path_received();
    else record_route();
    $du = "sip:127.0.0.1:@SERVER@";
    t_relay();
}
"""
_PASSED = re.compile(r"passed ([A-Z]+) from [0-9.]+:([0-9]+)")


@dataclass(frozen=True)
class Proxy:
    """A Kamailio that runs."""

    port: int
    server: int
    log: Path

    @property
    def at(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def said(self) -> str:
        """All that it has written."""
        return self.log.read_text("utf-8", "replace")

    def passed(self, method: str) -> list[str]:
        """Who sent the requests of this method that it passed on, each with its copies."""
        found = _PASSED.findall(self.said)
        return ["server" if int(port) == self.server else "phone" for one, port in found if one == method]


@asynccontextmanager
async def kamailio(server: int, folder: Path) -> AsyncIterator[Proxy]:
    """In front of the server at this port."""
    program = shutil.which("kamailio", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    assert program, "kamailio is not installed: make packages, or apt-get install kamailio"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, 0))
        port = int(sock.getsockname()[1])
    config, log, run = folder / "kamailio.cfg", folder / "kamailio.log", folder / "run"
    config.write_text(_CONFIG.replace("@HOST@", HOST).replace("@PORT@", str(port)).replace("@SERVER@", str(server)))
    run.mkdir()
    words = [program, "-f", str(config), "-DD", "-E", "-m", "16", "-M", "4", "-Y", str(run)]
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    proxy = Proxy(port, server, log)
    try:
        assert await _is_up(process, port), proxy.said
        yield proxy
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Its first process takes the others with it."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), 10)
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _is_up(process: asyncio.subprocess.Process, port: int) -> bool:
    """Once it answers anything at all: a request that may go no further."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        host, ours = sock.getsockname()
        asked = (
            f"OPTIONS sip:{HOST}:{port} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{ours};branch=z9hG4bKup\r\n"
            f"From: <sip:{host}>;tag=up\r\nTo: <sip:{HOST}>\r\nCall-ID: up\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 0\r\n"
            "Content-Length: 0\r\n\r\n"
        ).encode()
        async with asyncio.timeout(20):
            while process.returncode is None:
                await loop.sock_sendto(sock, asked, (HOST, port))
                try:
                    answer = await asyncio.wait_for(loop.sock_recv(sock, 2000), 0.1)
                except (TimeoutError, ConnectionError):
                    continue
                assert answer.startswith(b"SIP/2.0 483 "), answer
                return True
    return False
