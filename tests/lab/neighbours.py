"""nginx as the bad neighbour: each fault at an address of its own, all of them on ports 80 and 443."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from chain_maker import One, certificate
from cryptography.hazmat.primitives.asymmetric import rsa
from network import Host
from office import NAME

GOOD, LEAF_ONLY, EXPIRED, NOT_YET, INSPECTED, OTHER_NAME, TWO_NAMES, OLD, ONE_SUITE, NEW_KEY, ASKS, PLAIN, PROXY = (
    f"198.51.100.{number}" for number in range(31, 44)
)
_TLS: Final = {
    GOOD: "server", LEAF_ONLY: "alone", EXPIRED: "expired", NOT_YET: "early", INSPECTED: "inspected",
    OTHER_NAME: "other", TWO_NAMES: "other", OLD: "rsa", ONE_SUITE: "rsa", NEW_KEY: "server", ASKS: "server",
}  # fmt: skip
_MORE: Final = {
    OLD: "ssl_protocols TLSv1; ssl_ciphers ALL:@SECLEVEL=0;",
    ONE_SUITE: "ssl_protocols TLSv1.2; ssl_ciphers ECDHE-RSA-AES256-GCM-SHA384;",
    NEW_KEY: "ssl_protocols TLSv1.2;",
    ASKS: "ssl_client_certificate factory.pem; ssl_verify_client on;",
}
_PAGES: Final = """
  root files;
  default_type text/plain;
  location /portal/ { return 302 http://login.example.com/; }
  location /page/ { default_type text/html; alias pages/; }
  location /secret/ { auth_basic "phones"; auth_basic_user_file passwords; alias files/; }
  location /denied/ { deny all; }
  location /busy/ { return 503; }
  location /broken/ { return 500; }
  location /sign-in/ { return 511; }
  location /proxy/ { return 407; }
  location /behind/ { proxy_pass http://127.0.0.1:9; }
"""


def certificates(place: Path) -> dict[str, One]:
    """What the servers show; and of whom phones are, and are not, made to think well."""
    root = certificate("Example Root", ca=True)
    made = {
        "root": root, "issuing": certificate("Example Issuing", root, ca=True),
        "stranger": certificate("Stranger", ca=True), "inspector": certificate("FortiGate Inspection CA", ca=True),
    }  # fmt: skip
    issuing, ours = made["issuing"], {"names": [NAME]}
    made |= {
        "server": certificate(NAME, issuing, **ours),
        "alone": certificate(NAME, issuing, **ours),
        "expired": certificate(NAME, issuing, days=(-400, -3), **ours),
        "early": certificate(NAME, issuing, days=(3, 400), **ours),
        "inspected": certificate(NAME, made["inspector"], **ours),
        "other": certificate("www.example.org", issuing, names=["www.example.org"]),
        "rsa": certificate(NAME, issuing, key=rsa.generate_private_key(65537, 2048), **ours),
    }
    for name, one in made.items():
        above = b"" if name in {"alone", "inspected"} or one.cert.issuer == one.cert.subject else issuing.pem
        (place / f"{name}.pem").write_bytes(one.pem + above)
        (place / f"{name}.key").write_bytes(one.key_pem)
    return made


def _configuration(place: Path, behind: str) -> str:
    servers = [f"server {{ listen {GOOD}:80; listen {PLAIN}:80; listen {PLAIN}:443; {_PAGES} }}"]
    for address, name in _TLS.items():
        keys = f"ssl_certificate {name}.pem; ssl_certificate_key {name}.key;"
        servers.append(f"server {{ listen {address}:443 ssl; {keys} {_MORE.get(address, '')} {_PAGES} }}")
    keys = "ssl_certificate server.pem; ssl_certificate_key server.key;"
    servers.append(f"server {{ listen {TWO_NAMES}:443 ssl; server_name {NAME}; {keys} {_PAGES} }}")
    if behind:
        asks = "ssl_verify_client optional_no_ca;"
        servers.append(
            f"server {{ listen {PROXY}:443 ssl; {keys} {asks} location / {{ proxy_pass https://{behind}; }} }}"
        )
    kinds = "".join(f"{kind}_temp_path tmp/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    main = "daemon off; error_log stderr notice; pid tmp/pid; user root; worker_processes 1; events {}"
    http = f"access_log off; ssl_protocols TLSv1.2 TLSv1.3; {kinds} {''.join(servers)}"
    return f"{main} http {{ {http} }}\n"


@contextmanager
def bad_neighbour(host: Host, place: Path, behind: str = "") -> Iterator[dict[str, One]]:
    """Until the block ends; one address leads to who is behind it. Whose phones it takes may lie in factory.pem."""
    for folder in ("tmp", "files", "pages"):
        (place / folder).mkdir()
    for name in ("0004f2aabbcc.cfg", "T46S.rom"):
        (place / "files" / name).write_text("account.1.enable = 1\n" * 12)
    (place / "pages" / "0004f2aabbcc.cfg").write_text("<html><body>Sign in</body></html>\n")
    (place / "passwords").write_text(f"phone:{{PLAIN}}{secrets.token_hex(8)}\n")
    made = certificates(place)
    if not (place / "factory.pem").exists():
        (place / "factory.pem").write_bytes(made["stranger"].pem)
    (place / "nginx.conf").write_text(_configuration(place, behind))
    host.ip(*(f"addr add {address}/24 dev eth0" for address in (*_TLS, PLAIN, PROXY)))
    with host.program("nginx", "-p", place, "-c", place / "nginx.conf", "-e", "stderr", until="start worker process"):
        yield made
