"""How each deed is done from the command line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from provisioner.deeds import Cure, Deed
from provisioner.errors import ProvisionerError

COMMANDS: Final[Mapping[Deed, str]] = MappingProxyType(
    {
        Deed.ACCEPT_PIN: "`provisioner device accept-pin {of}` accepts it",
        Deed.ADD_DEVICE: "`provisioner device add` adds it",
        Deed.ADD_LICENSES: "`provisioner license add --kind {of} --account {account}` after buying",
        Deed.ALLOW_EXPIRED: "`provisioner device allow {of} --expired` allows it",
        Deed.ALLOW_TOKEN: "`provisioner device allow {of} --token` allows them",
        Deed.ASK_SERVER: "`provisioner why {of}` (on the server)",
        Deed.ASK_SWITCH: "`provisioner why {of} --switch`",
        Deed.ASSIGN_LICENSE: "`provisioner license assign {of}` gives one",
        Deed.ASSIGN_NUMBER: "`provisioner number assign NUMBER --extension {of} --account {account}` gives it one",
        Deed.BIND: "`provisioner device bind MAC 1 --extension {of}`",
        Deed.BIND_LINE: "`provisioner device bind {of} 1 --extension NUMBER`",
        Deed.CLOSE_KEY_RECORDING: "`provisioner keylog close {of}` ends that",
        Deed.END_WIPE: "`provisioner device wipe {of} --end` ends it",
        Deed.FORGET_PIN: "`provisioner device forget-pin {of}` takes the next that comes, whoever brings it",
        Deed.ISSUE_CODE: "`provisioner code issue {of}` makes a new one",
        Deed.ISSUE_CODE_INSTEAD: (
            "`provisioner code issue {of}` makes a new one, with --replace where a phone has the extension"
        ),
        Deed.LIST_EXTENSIONS: "`provisioner extension list` has the user names",
        Deed.LIST_MODELS: "`provisioner device models` lists them",
        Deed.LIST_SETTINGS: "`provisioner layer settings` lists them",
        Deed.LOOK_WHERE_IT_LISTENS: "`provisioner doctor` says where it listens",
        Deed.MAKE_DIGEST_SECRET: "`provisioner device digest-secret {of}` makes one",
        Deed.MOVE_DEVICE: "`provisioner device move {of} --account {account}` does that",
        Deed.OPEN_KEY_RECORDING: "`provisioner keylog open {of}`, then have the phone fetch",
        Deed.PLAN_STORM: "`provisioner storm plan` makes one",
        Deed.READ_CAPTURE: "`provisioner why {of} --pcap FILE`",
        Deed.READ_LOG: "`provisioner device uploads {of}`",
        Deed.REISSUE_CODE: "`provisioner code reissue {of}` makes another in its place",
        Deed.RELEASE_NUMBER: "`provisioner number release {of}` ends it",
        Deed.RENDER_FILES: "`provisioner render {of}`",
        Deed.REPLACE_PHONE: "--replace says so",
        Deed.RESERVE_NUMBERS: "`provisioner policy set {account} --reserved LIST` changes which",
        Deed.RESTORE_DEVICE: "`provisioner device restore {of}` does that",
        Deed.RESUME_LICENSE: "`provisioner license resume {of}` ends that",
        Deed.RESYNC_DEVICE: "`provisioner resync {of} --reboot`",
        Deed.REVEAL_CODE: (
            "`provisioner code reveal {of}` reads it, `provisioner code reissue {of}` makes another in its place"
        ),
        Deed.SET_EMAIL: "`provisioner user set-email {of} ADDRESS` gives one",
        Deed.SET_MODEL: "`provisioner device set-model {of} --model MODEL` corrects it",
        Deed.SET_RANGE: "`provisioner extension range 1000-1999 --account {of}` sets one",
        Deed.SHOW_DEVICE: "`provisioner device show {of}`",
        Deed.TAKE_FRAMES: "`provisioner why {of} --live IFACE`",
        Deed.TAKE_FRAMES_AT_SERVER: "`provisioner capture live -i IFACE --keep DIR` (on the server, while it starts)",
        Deed.TRUST_ISSUER: "`provisioner refused list` has its chain, `provisioner refused trust ID` believes the CA",
        Deed.UNASSIGN_NUMBER: "`provisioner number unassign {of}` frees it",
        Deed.WIPE_WITH_LINES: "`provisioner device wipe {of} --unbind` does both",
    }
)


_TYPED: Final = re.compile(r"`([^`]*)`( \([^)]*\))?")


def told(error: ProvisionerError | None) -> str:
    """What is wrong, and what to type where that helps."""
    if error is None:
        return ""
    return f"{error.cause}; {command_of(error.cure)}" if error.cure else error.cause


def command_of(cure: Cure) -> str:
    """What to type."""
    return COMMANDS[cure.deed].format(of=shlex.quote(cure.of), account=shlex.quote(cure.account))


def typed(cure: Cure) -> str:
    """The same as a line of its own: the command alone, and where."""
    return "; ".join(f"{command}{where}" for command, where in _TYPED.findall(command_of(cure)))
