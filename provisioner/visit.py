"""The values of one device's connection and of one request on it: who is there, what is asked, what is answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from provisioner.activation_offer import Moment
from provisioner.admission import Rank
from provisioner.errors import ProvisionerError
from provisioner.firmware import Firmware
from provisioner.flight_notes import FlightNotes
from provisioner.model import BootView, DeviceFile, FetchRecord, Mac, Peer, Proof, ResolvedConfig


@dataclass(slots=True)
class Visit:
    """One connection: who is there, and what one read told about it, good for all files of a boot."""

    peer: Peer
    view: BootView | None = None
    config: ResolvedConfig | None = None
    noted: bool = False
    """TLS version and address were handed to the recorder already."""
    file: DeviceFile | None = None
    """What the request under way is about, once that is known; for the edge to count."""
    charged: bool = False
    """Its handshake was counted among the device's."""
    refusals: int = 0
    """Requests refused on it."""
    notes: FlightNotes | None = None
    """Where the edge jots down what happens on it; None where nobody keeps it."""
    held: float = 0.0
    """s that admission let the request under way wait."""
    error: ProvisionerError | None = None
    """Why the request under way is refused."""
    moment: Moment | None = None
    """When activation was offered on it first: one SIP secret for all of its files."""


@dataclass(slots=True)  # not frozen: that would make building one, for each request, four times as dear
class Ask:
    """One request as the edge parsed it. ``path`` is clean and relative."""

    method: str
    path: str
    user_agent: str
    at: float
    authorization: str = field(default="", repr=False)
    target: str = ""
    """The request target as sent, which HTTP Digest signs."""
    part: tuple[int, int] | None = None
    """First and last byte, where one range is asked for that does not begin at the first."""
    if_range: str = ""
    """The entity tag for which that range is meant; empty for any."""


class Answer(NamedTuple):
    """What the device gets: bytes made for it, or an image on disk."""

    media_type: str
    body: bytes = b""
    etag: str = ""
    image: Firmware | None = None
    site: str = ""
    """Where the image goes, by whose uplink."""
    record: FetchRecord | None = None
    """What to record once the edge knows which status it sent."""


class Intake(NamedTuple):
    """An upload that is welcome: the file it replaces and the bytes it may have."""

    file: DeviceFile
    cap: int
    record: FetchRecord
    rank: Rank


class Proven(NamedTuple):
    """Which device is there, by what; its vendor is the trust anchor's, or the inventory's without a certificate."""

    mac: Mac
    vendor: str
    proof: Proof
    path: str
    """The file's path without a token."""
    token: str = ""
