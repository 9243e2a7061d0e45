"""How each deed is done from the command line."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from provisioner.deeds import Cure, Deed
from provisioner.errors import ProvisionerError

COMMANDS: Final[Mapping[Deed, str]] = MappingProxyType(
    {
        Deed.ADD_DEVICE: "`provisioner device add` adds it",
        Deed.ADD_LICENSES: "`provisioner license add --kind {of} --account {account}` after buying",
        Deed.ALLOW_TOKEN: "`provisioner device allow {of} --token` allows them",
        Deed.ASSIGN_LICENSE: "`provisioner license assign {of}` gives one",
        Deed.ASSIGN_NUMBER: "`provisioner number assign NUMBER --extension {of} --account {account}` gives it one",
        Deed.BIND: "`provisioner device bind MAC 1 --extension {of}`",
        Deed.END_WIPE: "`provisioner device wipe {of} --end` ends it",
        Deed.FORGET_PIN: "`provisioner device forget-pin {of}` takes the next that comes, whoever brings it",
        Deed.ISSUE_CODE: "`provisioner code issue {of}` makes a new one",
        Deed.ISSUE_CODE_INSTEAD: (
            "`provisioner code issue {of}` makes a new one, with --replace where a phone has the extension"
        ),
        Deed.LIST_MODELS: "`provisioner device models` lists them",
        Deed.LIST_SETTINGS: "`provisioner layer settings` lists them",
        Deed.MOVE_DEVICE: "`provisioner device move {of} --account {account}` does that",
        Deed.REISSUE_CODE: "`provisioner code reissue {of}` makes another in its place",
        Deed.RELEASE_NUMBER: "`provisioner number release {of}` ends it",
        Deed.REPLACE_PHONE: "--replace says so",
        Deed.RESERVE_NUMBERS: "`provisioner policy set {account} --reserved LIST` changes which",
        Deed.RESTORE_DEVICE: "`provisioner device restore {of}` does that",
        Deed.RESUME_LICENSE: "`provisioner license resume {of}` ends that",
        Deed.REVEAL_CODE: (
            "`provisioner code reveal {of}` reads it, `provisioner code reissue {of}` makes another in its place"
        ),
        Deed.SET_EMAIL: "`provisioner user set-email {of} ADDRESS` gives one",
        Deed.SET_MODEL: "`provisioner device set-model {of} --model MODEL` corrects it",
        Deed.SET_RANGE: "`provisioner extension range 1000-1999 --account {of}` sets one",
        Deed.UNASSIGN_NUMBER: "`provisioner number unassign {of}` frees it",
        Deed.WIPE_WITH_LINES: "`provisioner device wipe {of} --unbind` does both",
    }
)


def told(error: ProvisionerError | None) -> str:
    """What is wrong, and what to type where that helps."""
    if error is None:
        return ""
    return f"{error.cause}; {command_of(error.cure)}" if error.cure else error.cause


def command_of(cure: Cure) -> str:
    """What to type."""
    return COMMANDS[cure.deed].format(of=shlex.quote(cure.of), account=shlex.quote(cure.account))
