"""What helps after a refusal, by name: use-cases say which deed, and each edge how it is done there. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Deed(StrEnum):
    """Something that somebody may do; the command line, the API and the console each have words for all of them."""

    ACCEPT_PIN = "accept_pin"
    ADD_DEVICE = "add_device"
    ADD_LICENSES = "add_licenses"
    ALLOW_EXPIRED = "allow_expired"
    ALLOW_TOKEN = "allow_token"  # noqa: S105  # a deed, no secret
    ASK_SERVER = "ask_server"
    ASK_SWITCH = "ask_switch"
    ASSIGN_LICENSE = "assign_license"
    ASSIGN_NUMBER = "assign_number"
    BIND = "bind"
    BIND_LINE = "bind_line"
    CLOSE_KEY_RECORDING = "close_key_recording"
    END_WIPE = "end_wipe"
    FORGET_PIN = "forget_pin"
    ISSUE_CODE = "issue_code"
    ISSUE_CODE_INSTEAD = "issue_code_instead"
    LIST_EXTENSIONS = "list_extensions"
    LIST_MODELS = "list_models"
    LIST_SETTINGS = "list_settings"
    LOOK_WHERE_IT_LISTENS = "look_where_it_listens"
    MAKE_DIGEST_SECRET = "make_digest_secret"  # noqa: S105  # a deed, no secret
    MOVE_DEVICE = "move_device"
    OPEN_KEY_RECORDING = "open_key_recording"
    PLAN_STORM = "plan_storm"
    READ_CAPTURE = "read_capture"
    READ_LOG = "read_log"
    REISSUE_CODE = "reissue_code"
    RELEASE_NUMBER = "release_number"
    RENDER_FILES = "render_files"
    REPLACE_PHONE = "replace_phone"
    RESERVE_NUMBERS = "reserve_numbers"
    RESTORE_DEVICE = "restore_device"
    RESUME_LICENSE = "resume_license"
    RESYNC_DEVICE = "resync_device"
    REVEAL_CODE = "reveal_code"
    SET_EMAIL = "set_email"
    SET_MODEL = "set_model"
    SET_RANGE = "set_range"
    SHOW_DEVICE = "show_device"
    TAKE_FRAMES = "take_frames"
    TAKE_FRAMES_AT_SERVER = "take_frames_at_server"
    TRUST_ISSUER = "trust_issuer"
    UNASSIGN_NUMBER = "unassign_number"
    WIPE_WITH_LINES = "wipe_with_lines"


BY_HAND: Final = frozenset({Deed.READ_CAPTURE, Deed.TAKE_FRAMES, Deed.TAKE_FRAMES_AT_SERVER})
"""Done with a program on a machine in the network: there is no page and no call for it."""


@dataclass(frozen=True, slots=True)
class Cure:
    """A deed, and what it is done to."""

    deed: Deed
    of: str = ""
    """A Mac, a number or an id, as the deed's words need it; empty where it is done to nothing that is there."""
    account: str = ""
    """Id of the account, where the deed's words name one."""
