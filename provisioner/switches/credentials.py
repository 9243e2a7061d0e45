"""What opens a switch: a community (v2c), or a user with keys (v3); read where it enters, and never printed. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from provisioner.errors import Invalid

_LONGEST: Final = 64
_SHORTEST_KEY: Final = 8
"""Characters of a passphrase, RFC 3414 section 11.2."""
_PRINTABLE: Final = re.compile(r"[!-~]+")
_PHRASE: Final = re.compile(r"[ -~]+")


class Auth(StrEnum):
    """How a user proves who they are; MD5 is for switches that know no better."""

    NONE = "none"
    MD5 = "md5"
    SHA = "sha"
    SHA224 = "sha224"
    SHA256 = "sha256"
    SHA384 = "sha384"
    SHA512 = "sha512"


class Privacy(StrEnum):
    """How what is said is hidden. ``cisco``: keys lengthened as Cisco does it (draft-reeder), where that differs."""

    NONE = "none"
    DES = "des"
    AES = "aes"
    AES192 = "aes192"
    AES256 = "aes256"
    AES192_CISCO = "aes192-cisco"
    AES256_CISCO = "aes256-cisco"


@dataclass(frozen=True, slots=True)
class Community:
    """SNMPv2c: one word that everybody who listens can read."""

    community: str = field(repr=False)

    @property
    def words(self) -> str:
        """For people."""
        return "v2c"


@dataclass(frozen=True, slots=True)
class User:
    """SNMPv3, the User-based Security Model."""

    user: str
    auth: Auth = Auth.NONE
    auth_key: str = field(default="", repr=False)
    privacy: Privacy = Privacy.NONE
    privacy_key: str = field(default="", repr=False)

    @property
    def words(self) -> str:
        """For people."""
        return f"v3 {self.user} {self.auth.value}/{self.privacy.value}"


Credential = Community | User


def community(text: str, what: str = "community") -> Community:
    """Invalid where no switch takes it."""
    if not _PRINTABLE.fullmatch(text) or len(text) > _LONGEST:
        raise Invalid(what, f"must be 1 to {_LONGEST} visible ASCII characters without blanks")
    return Community(text)


def user(name: str, auth: Auth, auth_key: str, privacy: Privacy, privacy_key: str) -> User:
    """Invalid names what is missing, too short or of no use without the other."""
    if not _PRINTABLE.fullmatch(name) or len(name) > 32:  # usmUserName, RFC 3414
        raise Invalid("user", "must be 1 to 32 visible ASCII characters without blanks")
    if privacy is not Privacy.NONE and auth is Auth.NONE:
        raise Invalid("privacy", "hides nothing without auth: RFC 3414 has no such level")
    _check_key("auth_key", auth_key, wanted=auth is not Auth.NONE)
    _check_key("privacy_key", privacy_key, wanted=privacy is not Privacy.NONE)
    return User(name, auth, auth_key, privacy, privacy_key)


def _check_key(what: str, key: str, *, wanted: bool) -> None:
    if not wanted:
        if key:
            raise Invalid(what, "is given, and no algorithm for it")
        return
    if not _SHORTEST_KEY <= len(key) <= _LONGEST or not _PHRASE.fullmatch(key):
        raise Invalid(what, f"must be {_SHORTEST_KEY} to {_LONGEST} ASCII characters (RFC 3414 section 11.2)")


def sealed_form(one: Credential) -> bytes:
    """What is sealed."""
    if isinstance(one, Community):
        return json.dumps({"community": one.community}).encode()
    names = ("user", "auth", "auth_key", "privacy", "privacy_key")
    return json.dumps({name: getattr(one, name) for name in names}).encode()


def of_sealed(text: bytes) -> Credential:
    """The same back."""
    said: Mapping[str, str] = json.loads(text)
    if "community" in said:
        return Community(said["community"])
    auth, privacy = Auth(said["auth"]), Privacy(said["privacy"])
    return User(said["user"], auth, said["auth_key"], privacy, said["privacy_key"])
