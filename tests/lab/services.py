"""Servers of the laboratory's phones: dnsmasq for addresses, names and TFTP; each runs until its block ends."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from network import Host, Program, until
from office import NAME, PHONE, PHONE_IP, ROUTER_IP, SERVER_IP, colons

_ALONE: Final = (
    "dnsmasq", "-k", "--log-facility=-", "--conf-file=/dev/null", "--user=root", "--pid-file=", "--no-hosts",
    "--no-resolv", "--no-ping", "--log-dhcp", "--leasefile-ro",
)  # fmt: skip
POOL: Final = "--dhcp-range=192.0.2.40,192.0.2.60,1h"
THE_PHONE: Final = f"--dhcp-host={colons(PHONE)},{PHONE_IP}"
HERE: Final = f"--host-record={NAME},{SERVER_IP}"
TFTP: Final = "/run/tftp"
"""Of the laboratory alone: it has a /run of its own."""
URL: Final = f"https://{NAME}/"


@contextmanager
def dnsmasq(
    host: Host, *options: str, pool: str = POOL, router: str = ROUTER_IP, url: str = URL, names: str = HERE
) -> Iterator[Program]:
    """A DHCP and DNS server as an office has it; what is given as an empty text it does not have."""
    given = [f"--dhcp-option=3{',' if router else ''}{router}", *([THE_PHONE] if pool == POOL else [])]
    given += [f"--dhcp-option=160,{url}"] if url else []
    given += [one for one in (pool, names) if one]
    with host.program(*_ALONE, *given, *options, until="started, version") as program:
        yield program


@contextmanager
def ntp(host: Host, *, years: int | None = None) -> Iterator[Program]:
    """A time server: chronyd, which has nobody to ask and so no time; or one that is so many years off."""
    if years is None:
        config = host.place / "chrony.conf"
        config.write_text(f"allow all\ncmdport 0\nbindcmdaddress /\npidfile {host.place}/chrony.pid\n")
        with host.program("chronyd", "-d", "-x", "-u", "root", "-f", config, until="Running with root") as program:
            yield program
        return
    small = Path(__file__).with_name("small_ntp.py")
    with host.program(sys.executable, small, str(years * 31_556_952), until="listens") as program:
        yield program


@contextmanager
def tls_server(host: Host, shows: Path, *more: str, port: int = 443) -> Iterator[Program]:
    """openssl's own, which says 200 to whatever it is asked."""
    words = ("openssl", "s_server", "-accept", str(port), "-cert", shows, "-cert_chain", shows, "-www", *more)
    with host.program(*words, until="ACCEPT") as program:
        yield program


@contextmanager
def files_server(host: Host, size: int) -> Iterator[str]:
    """HTTP in the clear with a phone's file of that many bytes; its URL."""
    folder = _folder(host, f"{PHONE}.cfg", size)
    with host.program("busybox", "httpd", "-f", "-p", "80", "-h", folder) as program:
        until(lambda: "*:80" in host.run("ss", "-ltn").stdout, program.log)
        yield f"http://{SERVER_IP}/{PHONE}.cfg"


@contextmanager
def tftp_server(host: Host, *files: str) -> Iterator[Program]:
    """dnsmasq's, with these files alone; its errors name the folder."""
    host.must(
        "sh", "-c", f"rm -rf {TFTP}; mkdir {TFTP}; cd {TFTP}; for one in {' '.join(files)}; do echo x > $one; done"
    )
    with dnsmasq(host, "--enable-tftp", f"--tftp-root={TFTP}", pool="", names="") as program:
        yield program


def _folder(host: Host, file: str, size: int) -> Path:
    folder = Path(mkdtemp(dir=host.place))
    folder.chmod(0o755)
    (folder / file).write_text("x" * size)
    return folder
