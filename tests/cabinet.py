"""Switches to be asked: what a 48-port switch with phones on it says, as rows that any agent can serve."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from provisioner.switches import oids
from provisioner.switches.oids import Oid, Value

PHONE = "0004f2aabbcc"
PC = "b827eb000001"
ROUTER = "000102030405"
PORT, INTERFACE, POE = 7, 10107, (1, 7)
"""The phone's."""
UPLINK = 48
DATA, VOICE = 10, 120
HP, CISCO, OTHER = (1, 3, 6, 1, 4, 1, 11, 2, 3, 7), (1, 3, 6, 1, 4, 1, 9, 1, 1208), (1, 3, 6, 1, 4, 1, 4526, 100)


@dataclass
class Cabinet:
    """One switch. Interfaces are 10101 ... 10148, bridge ports 1 ... 48; HP's interfaces are the bridge's numbers."""

    name: str = "sw1"
    maker: Oid = OTHER
    ports: int = 48
    phone: str = PHONE
    port: int = PORT
    others: tuple[str, ...] = (PC,)
    """Beside the phone at its port."""
    crowd: int = 180
    """Macs behind the uplink."""
    offered: int = VOICE
    used: int = VOICE
    seen: tuple[int, ...] = (VOICE,)
    learned: bool = True
    capabilities: bytes = b"\x24"
    """telephone and bridge: a phone with a port for a PC."""
    fdb: dict[int, int] = field(default_factory=lambda: {DATA: 1001, VOICE: 1120})
    """FdbId of each VLAN: they are not the same."""
    by_vlan: bool = True
    """Whether it has Q-BRIDGE."""
    cdp_voice: int = 0

    def interface(self, port: int) -> int:
        return port if self.maker == HP else 10_100 + port

    def rows(self) -> dict[Oid, Value]:
        """Everything, in no order."""
        found: dict[Oid, Value] = {
            oids.SYS_DESCR: b"A switch of the tests",
            oids.SYS_OBJECT_ID: self.maker,
            oids.SYS_CONTACT: b"noc@example.net",
            oids.SYS_NAME: self.name.encode(),
        }
        for part in (self._interfaces(), self._addresses(), self._vlans(), self._lldp(), self._poe(), self._cisco()):
            found.update(part)
        return found

    def _interfaces(self) -> Iterator[tuple[Oid, Value]]:
        for port in range(1, self.ports + 1):
            one = self.interface(port)
            yield (*oids.IF_DESCR, one), f"GigabitEthernet1/0/{port}".encode()
            yield (*oids.IF_TYPE, one), 6
            yield (*oids.IF_OPER, one), 1
            yield (*oids.IF_NAME, one), f"Gi1/0/{port}".encode()
            yield (*oids.IF_ALIAS, one), (b"desk 7" if port == self.port else b"")
            yield (*oids.BASE_PORT_IF, port), one

    def macs(self) -> list[tuple[str, int, int]]:
        """Mac, VLAN, port."""
        mine = [(self.phone, vlan, self.port) for vlan in self.seen] if self.learned else []
        mine += [(mac, DATA, self.port) for mac in self.others]
        mine += [(f"0200000000{number:02x}", DATA, UPLINK) for number in range(self.crowd)]
        return mine

    def _addresses(self) -> Iterator[tuple[Oid, Value]]:
        for mac, vlan, port in self.macs():
            index = tuple(bytes.fromhex(mac))
            if self.by_vlan:
                yield (*oids.QFDB_PORT, self.fdb[vlan], *index), port
            elif not self.cdp_voice:
                yield (*oids.FDB_PORT, *index), port

    def _vlans(self) -> Iterator[tuple[Oid, Value]]:
        if not self.by_vlan:
            return
        bits = bytearray(8)
        for port in range(1, self.ports + 1):
            bits[(port - 1) // 8] |= 0x80 >> ((port - 1) % 8)
        for vlan, fdb in self.fdb.items():
            yield (*oids.VLAN_FDB, 0, vlan), fdb
            yield (*oids.VLAN_EGRESS, 0, vlan), bytes(bits)
            yield (*oids.VLAN_UNTAGGED, 0, vlan), bytes(bits) if vlan == DATA else bytes(8)
        for port in range(1, self.ports + 1):
            yield (*oids.PVID, port), DATA

    def _lldp(self) -> Iterator[tuple[Oid, Value]]:
        for port in range(1, self.ports + 1):
            yield (*oids.LOC_PORT_ID, port), f"Gi1/0/{port}".encode()
            yield (*oids.LOC_PORT_DESC, port), f"GigabitEthernet1/0/{port}".encode()
            if self.offered:
                yield from _policy(oids.MED_OFFERED, (port,), self.offered)
        yield from _neighbour(
            (0, self.port, 1), b"\x05\x01\x0a\x00\x00\x07", 5, self.phone, b"VVX 411", self.capabilities
        )
        yield from _neighbour((0, UPLINK, 2), bytes.fromhex(ROUTER), 4, ROUTER, b"core", b"\x28")
        if self.used:
            yield from _policy(oids.MED_USED, (0, self.port, 1), self.used)
        for number, word in enumerate((b"rev A", b"6.4.0", b"6.4.0", b"0004F2AABBCC", b"Polycom", b"VVX 411"), 1):
            yield (*oids.MED_INVENTORY, number, 0, self.port, 1), word

    def _poe(self) -> Iterator[tuple[Oid, Value]]:
        for port in range(1, self.ports + 1):
            yield (*oids.POE_ADMIN, 1, port), 1
            yield (*oids.POE_DETECTION, 1, port), 3 if port in (self.port, 9) else 2

    def _cisco(self) -> Iterator[tuple[Oid, Value]]:
        if self.maker != CISCO:
            return
        for port in range(1, self.ports + 1):
            yield (*oids.CISCO_POE_ENABLE, 1, port), 1
            yield (*oids.CISCO_POE_ENTITY, 1, port), 1000 + port
            yield (*oids.ENTITY_ALIAS, 1000 + port, 0), (*oids.IF_INDEX, self.interface(port))
        if self.cdp_voice:
            yield (*oids.CISCO_VOICE_VLAN, self.interface(self.port)), self.cdp_voice
        for vlan in (1, DATA, VOICE, 1002):
            yield (*oids.CISCO_VLAN_STATE, 1, vlan), 1

    def view(self, vlan: int) -> dict[Oid, Value]:
        """What a Cisco switch shows of one VLAN alone."""
        found: dict[Oid, Value] = {
            (*oids.BASE_PORT_IF, port): self.interface(port) for port in range(1, self.ports + 1)
        }
        mine = [(mac, port) for mac, of, port in self.macs() if of == vlan]
        return found | {(*oids.FDB_PORT, *bytes.fromhex(mac)): port for mac, port in mine}


def _policy(table: Oid, index: Oid, vlan: int) -> Iterator[tuple[Oid, Value]]:
    for number, value in ((oids.MED_VLAN, vlan), (oids.MED_PRIORITY, 5), (oids.MED_DSCP, 46), (oids.MED_TAGGED, 1)):
        yield (*table, number, *index, oids.MED_VOICE), value


def _neighbour(
    index: Oid, chassis: bytes, chassis_kind: int, mac: str, name: bytes, capabilities: bytes
) -> Iterator[tuple[Oid, Value]]:
    cells: dict[int, Value] = {
        oids.REM_CHASSIS_SUBTYPE: chassis_kind, oids.REM_CHASSIS: chassis, oids.REM_PORT_SUBTYPE: 3,
        oids.REM_PORT: bytes.fromhex(mac), oids.REM_NAME: name, oids.REM_DESC: name,
        oids.REM_CAPABILITIES: capabilities,
    }  # fmt: skip
    for number, value in cells.items():
        yield (*oids.REM, number, *index), value


def recorded(rows: dict[Oid, Value], writable: frozenset[Oid] = frozenset()) -> str:
    """As snmpsim reads it: sorted lines of name, type and value."""
    return "".join(f"{oids.dotted(oid)}|{_cell(rows[oid], oid in writable)}\n" for oid in sorted(rows))


def _cell(value: Value, is_writable: bool) -> str:
    tag = ":writecache" if is_writable else ""
    if isinstance(value, int):
        return f"2{tag}|{f'value={value}' if is_writable else value}"
    if isinstance(value, bytes):
        return f"4x|{value.hex()}"
    return f"6|{oids.dotted(value)}"
