"""What helps after a refusal, by name: use-cases say which deed, and each edge how it is done there. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Deed(StrEnum):
    """Something that somebody may do; the command line, the API and the console each have words for all of them."""

    ADD_DEVICE = "add_device"
    ADD_LICENSES = "add_licenses"
    ALLOW_TOKEN = "allow_token"  # noqa: S105  # a deed, no secret
    ASSIGN_LICENSE = "assign_license"
    ASSIGN_NUMBER = "assign_number"
    BIND = "bind"
    END_WIPE = "end_wipe"
    FORGET_PIN = "forget_pin"
    ISSUE_CODE = "issue_code"
    ISSUE_CODE_INSTEAD = "issue_code_instead"
    LIST_MODELS = "list_models"
    LIST_SETTINGS = "list_settings"
    MOVE_DEVICE = "move_device"
    REISSUE_CODE = "reissue_code"
    RELEASE_NUMBER = "release_number"
    REPLACE_PHONE = "replace_phone"
    RESERVE_NUMBERS = "reserve_numbers"
    RESTORE_DEVICE = "restore_device"
    RESUME_LICENSE = "resume_license"
    REVEAL_CODE = "reveal_code"
    SET_EMAIL = "set_email"
    SET_MODEL = "set_model"
    SET_RANGE = "set_range"
    UNASSIGN_NUMBER = "unassign_number"
    WIPE_WITH_LINES = "wipe_with_lines"


@dataclass(frozen=True, slots=True)
class Cure:
    """A deed, and what it is done to."""

    deed: Deed
    of: str = ""
    """A Mac, a number or an id, as the deed's words need it; empty where it is done to nothing that is there."""
    account: str = ""
    """Id of the account, where the deed's words name one."""
