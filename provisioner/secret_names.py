"""Which settings and vendor parameters hold a secret, by their names; and what is shown in place of one. Pure."""

from __future__ import annotations

import re
from typing import Final

from provisioner.neutral import SETTINGS

MASK: Final = "********"
SECRET_NAME: Final = re.compile(
    r"passw|passphrase|secret|pswd|\bpwd|authpass|privatekey|\bpsk\b|presharedkey", re.IGNORECASE
)
"""Of a vendor's own parameters nothing but the name tells."""


def is_secret(name: str) -> bool:
    """Whether a neutral setting or vendor parameter of this name holds a secret."""
    setting = SETTINGS.get(name.partition(".")[2].partition(".")[2] if name.startswith("line.") else name)
    return setting.secret if setting else bool(SECRET_NAME.search(name))
