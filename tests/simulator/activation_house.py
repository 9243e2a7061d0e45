"""The provisioning server's part of an activation: a scripted T46S that is nobody's until the IVR binds it."""

from __future__ import annotations

from scripted_server import Asked, Reply, play

from provisioner.model import Mac
from tests.ivr.answering import NUMBER, login

MAC = Mac.parse("001565aabbcc")
HEADER = "#!version:1.0.0.1\n"


class House:
    """The provisioning server's part: an activation line until somebody has the phone."""

    def __init__(self, transport: str = "udp") -> None:
        self.owner = ""
        self.sip = ""
        self.transport = {"udp": 0, "tcp": 1}[transport]

    def serve(self, asked: Asked) -> Reply:
        return play({"/y000000000066.cfg": HEADER, f"/{MAC}.cfg": HEADER + self._line()})(asked)

    def _line(self) -> str:
        if self.owner:
            lines = {"user_name": self.owner, "password": "s3"}
            lines |= {"sip_server.1.address": "pbx.example.net", "sip_server.1.port": "0"}
            hotline = ""
        else:
            host, _, port = self.sip.partition(":")
            name, secret = login(MAC)
            lines = {
                "user_name": str(MAC),
                "auth_name": name,
                "password": secret,
                "sip_server.1.address": host,
                "sip_server.1.port": port,
                "sip_server.1.transport_type": str(self.transport),
            }
            hotline = f"features.hotline_number = {NUMBER}\n"
        return "account.1.enable = 1\n" + "".join(f"account.1.{k} = {v}\n" for k, v in lines.items()) + hotline

    def bind(self, mac: str) -> None:
        assert mac == MAC
        self.owner = "1001"
