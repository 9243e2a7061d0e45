"""How each deed is done with a call of the API."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

from provisioner.deeds import Cure, Deed

CALLS: Final[Mapping[Deed, str]] = MappingProxyType(
    {
        Deed.ADD_DEVICE: "add it: `POST /devices`",
        Deed.ADD_LICENSES: "add those that were bought: `POST /licenses`",
        Deed.ALLOW_TOKEN: "allow them: `PATCH /devices/{of}/access`",
        Deed.ASSIGN_LICENSE: "give the user one: `POST /users/{of}/licenses`",
        Deed.ASSIGN_NUMBER: "give it one: `PUT /numbers/{{number}}/extension`",
        Deed.BIND: "bind it to a line: `PUT /devices/{{mac}}/lines/{{line}}`",
        Deed.END_WIPE: "end its wipe: `DELETE /devices/{of}/wipe`",
        Deed.FORGET_PIN: "have the next that comes taken, whoever brings it: `DELETE /devices/{of}/pin`",
        Deed.ISSUE_CODE: "make one: `POST /codes`",
        Deed.ISSUE_CODE_INSTEAD: "make a new one: `POST /codes`, with `replace` where a phone has the extension",
        Deed.LIST_MODELS: "take a model from the list: `GET /models`",
        Deed.LIST_SETTINGS: "take a setting from the list: `GET /settings-of-devices`",
        Deed.MOVE_DEVICE: "move it: `PUT /devices/{of}/place`",
        Deed.REISSUE_CODE: "make another in its place: `POST /extensions/{of}/code/reissue`",
        Deed.RELEASE_NUMBER: "end the hold: `POST /numbers/{of}/release`",
        Deed.REPLACE_PHONE: "say `replace`, or unbind it there: `DELETE /devices/{{mac}}/lines/{{line}}`",
        Deed.RESERVE_NUMBERS: "take another number, or change the list: `PATCH /accounts/{account}/policy`",
        Deed.RESTORE_DEVICE: "take that back: `POST /devices/{of}/restore`",
        Deed.RESUME_LICENSE: "let it count again: `POST /licenses/{of}/resume`",
        Deed.REVEAL_CODE: (
            "read it: `POST /extensions/{of}/code/reveal`, or make another: `POST /extensions/{of}/code/reissue`"
        ),
        Deed.SET_EMAIL: "give the user one: `PATCH /users/{of}`",
        Deed.SET_MODEL: "correct it: `PUT /devices/{of}/model`",
        Deed.SET_RANGE: "set one: `PUT /accounts/{account}/range`",
        Deed.UNASSIGN_NUMBER: "take it from there: `DELETE /numbers/{of}/extension`",
        Deed.WIPE_WITH_LINES: "say `unbind`: `POST /devices/{of}/wipe`",
    }
)


def call_of(cure: Cure) -> str:
    """What to send; addresses are below ``/api/v1``."""
    return CALLS[cure.deed].format(of=quote(cure.of, safe=""), account=quote(cure.account, safe=""))
