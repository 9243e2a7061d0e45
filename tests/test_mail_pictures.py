"""QR codes say what they should: somebody else's decoder reads them, as the camera of a mobile phone would."""

from __future__ import annotations

import struct
import zlib

import pytest
import zxingcpp

from provisioner.mail.text import Letter, Texts, Writer, png
from provisioner.mail_address import Mailbox

LINK = "https://help.example.com/phones/poly/vvx-411?l=de"


def grey(picture: bytes) -> memoryview:
    """A PNG of one bit a pixel as rows of bytes, 0 black and 255 white."""
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = {}, 8
    while at < len(picture):
        size, kind = struct.unpack(">I4s", picture[at : at + 8])
        chunks[kind] = picture[at + 8 : at + 8 + size]
        at += size + 12
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (depth, colour) == (1, 0), "black and white, one bit a pixel"
    raw, row = zlib.decompress(chunks[b"IDAT"]), (width + 7) // 8 + 1
    bits, line = "", bytes(row - 1)
    for start in range(0, len(raw), row):
        line = unfiltered(raw[start], raw[start + 1 : start + row], line)
        bits += "".join(f"{byte:08b}" for byte in line)[:width]
    return memoryview(bytes(255 * int(bit) for bit in bits)).cast("B", shape=[height, width])


def unfiltered(how: int, line: bytes, above: bytes) -> bytes:
    """PNG section 9.2: 0 is the bytes themselves, 2 what they are more than those above."""
    assert how in {0, 2}
    return line if how == 0 else bytes((one + other) % 256 for one, other in zip(line, above, strict=True))


def read(picture: bytes) -> list[str]:
    return [one.text for one in zxingcpp.read_barcodes(grey(picture))]


@pytest.mark.parametrize("text", [LINK, "482109377165", "https://help.example.com/" + "x" * 150])
def test_a_camera_reads_what_the_picture_says(text: str) -> None:
    assert read(png(text)) == [text]


def test_the_picture_in_a_mail_is_what_the_letter_says() -> None:
    values = {"name": "Ada", "login": "a@b.c", "link": LINK, "until": 0, "zone": "UTC"}
    letter = Letter("reset", "en", Mailbox("Ada", "ada@example.net"), "1", 0.0, LINK, values)
    made = Pictured().message(letter, Writer(Mailbox("", "tel@example.com")))
    pictures = [part.get_content() for part in made.walk() if part.get_content_type() == "image/png"]
    assert [read(one) for one in pictures] == [[LINK]]


class Pictured(Texts):
    """Whose words do not matter here."""

    def page(self, _name: str, _values: object) -> str:
        return "x"
