"""A phone in thirty lines: walk Poly's boot sequence with nothing but the standard library, and say what came.

python fake_phone.py https://127.0.0.1:8443 0004f2de0001 phone.pem phone.key server-ca.pem
"""

import http.client
import ssl
import sys
from urllib.parse import urlsplit
from xml.etree import ElementTree

if len(sys.argv) != 6:
    sys.exit("usage: fake_phone.py https://HOST:PORT MAC PHONE.pem PHONE.key SERVER-CA.pem")
url, mac, certificate, key, server_ca = sys.argv[1:]
try:
    context = ssl.create_default_context(cafile=server_ca)
    context.load_cert_chain(certificate, key)  # what its maker burnt into it
    server = http.client.HTTPSConnection(urlsplit(url).netloc, context=context, timeout=10)
    server.connect()
except (OSError, http.client.InvalidURL) as error:  # ssl's errors are OSErrors
    sys.exit(f"cannot begin with {', '.join(sys.argv[1:])}: {error}")
agent = {"User-Agent": "FileTransport PolycomVVX-VVX_411-UA/5.9.6.2327 Type/Application"}


def get(name: str) -> bytes:
    """One file, empty when the server does not give it."""
    server.request("GET", f"/{name}", headers=agent)
    answer = server.getresponse()
    body = answer.read()
    print(f"{name:32} {answer.status} {len(body)} bytes")
    return body if answer.status == 200 else b""


master = get(f"{mac}.cfg") or get("000000000000.cfg")
if not master:
    sys.exit("no master configuration: this phone would not come up")
files = ElementTree.fromstring(master).get("CONFIG_FILES", "").replace("[PHONE_MAC_ADDRESS]", mac)
bodies = [body for name in files.split(",") if (body := get(name.strip()))]
settings = [one.attrib for body in bodies for one in ElementTree.fromstring(body).iter()]
lines = [one["reg.1.address"] for one in settings if one.get("reg.1.address")]
print("line 1 registers as", lines[0]) if lines else sys.exit("no line for this phone")
