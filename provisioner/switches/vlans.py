"""Three numbers and one verdict: the voice VLAN a switch offers, the one a phone uses, and where its Mac is. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from provisioner.switches.values import Port, VoiceVlan


class VlanVerdict(StrEnum):
    """What the three numbers come to."""

    RIGHT = "right"
    NOT_OFFERED = "not_offered"
    QUARREL = "quarrel"
    NO_MEMBER = "no_member"
    TAG_MISMATCH = "tag_mismatch"
    NOT_TAKEN = "not_taken"
    ELSEWHERE = "elsewhere"
    UNSEEN = "unseen"


@dataclass(frozen=True, slots=True)
class VlanCheck:
    """The verdict, and what it stands on."""

    verdict: VlanVerdict
    why: str
    cure: str
    offered: int
    """0: none."""
    used: int
    seen: tuple[int, ...]

    @property
    def good(self) -> bool:
        """Nothing to mend."""
        return self.verdict is VlanVerdict.RIGHT


def check(port: Port) -> VlanCheck:
    """The first of these that is so; each names its cure."""
    offered = port.offered[0] if port.offered else None
    verdict, why, cure = _judged(port, offered)
    used = port.used.vlan if port.used else 0
    return VlanCheck(verdict, why, cure, offered.vlan if offered else 0, used, port.vlans)


def _judged(port: Port, offered: VoiceVlan | None) -> tuple[VlanVerdict, str, str]:
    where = f"{port.switch} {port.name}"
    if offered is None:
        return (
            VlanVerdict.NOT_OFFERED,
            f"{where} offers no voice VLAN, by LLDP-MED or CDP",
            "set a voice VLAN on the port and make the port a member of it, or set the VLAN by DHCP or by hand",
        )
    if len({one.vlan for one in port.offered}) > 1:
        said = " and ".join(f"{one.vlan} by {one.by.upper()}" for one in port.offered)
        return (
            VlanVerdict.QUARREL,
            f"{where} offers VLAN {said}: phones that hear both move to and fro, and restart each time",
            "let both say the same VLAN, or switch one of them off",
        )
    return _carried(port, offered, where) or _taken(port, offered, where)


def _carried(port: Port, offered: VoiceVlan, where: str) -> tuple[VlanVerdict, str, str] | None:
    """Whether the port carries what it offers, as far as its VLAN table says."""
    known = port.tagged | port.untagged
    if known and offered.vlan not in known:
        return (
            VlanVerdict.NO_MEMBER,
            f"{where} offers voice VLAN {offered.vlan} and is no member of it",
            f"make the port a member of VLAN {offered.vlan}, tagged",
        )
    if known and offered.tagged is not None and offered.tagged != (offered.vlan in port.tagged):
        said, does = ("tagged", "without a tag") if offered.tagged else ("without a tag", "tagged")
        return (
            VlanVerdict.TAG_MISMATCH,
            f"{where} offers voice VLAN {offered.vlan} {said} and sends it {does}",
            "let the port and what it offers say the same",
        )
    return None


def _taken(port: Port, offered: VoiceVlan, where: str) -> tuple[VlanVerdict, str, str]:
    """Whether the phone has done as it was told."""
    if port.used is not None and port.used.vlan != offered.vlan:
        return (
            VlanVerdict.NOT_TAKEN,
            f"{where} offers voice VLAN {offered.vlan} and the phone says that it uses {port.used.vlan}",
            "look for another VLAN in the phone's own settings or in DHCP; then restart the phone",
        )
    if not port.vlans:
        return (
            VlanVerdict.UNSEEN,
            f"{where} has not learned the Mac in any VLAN: the phone has sent nothing lately",
            "look whether it has power and link, then restart it",
        )
    if offered.vlan not in port.vlans:
        seen = ", ".join(map(str, port.vlans))
        return (
            VlanVerdict.ELSEWHERE,
            f"{where} offers voice VLAN {offered.vlan}, and the phone's frames come in VLAN {seen}",
            "switch LLDP on in the phone, or restart it: it came up before the port offered the VLAN",
        )
    return VlanVerdict.RIGHT, f"offered, used and seen: VLAN {offered.vlan} at {where}", ""
