"""How each deed is done with a call of the API."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

from provisioner.deeds import Cure, Deed

CALLS: Final[Mapping[Deed, str]] = MappingProxyType(
    {
        Deed.ACCEPT_PIN: "accept it: `POST /devices/{of}/pin/accept`",
        Deed.ADD_DEVICE: "add it: `POST /devices`",
        Deed.ADD_LICENSES: "add those that were bought: `POST /licenses`",
        Deed.ALLOW_EXPIRED: "allow it: `PATCH /devices/{of}/access`",
        Deed.ALLOW_TOKEN: "allow them: `PATCH /devices/{of}/access`",
        Deed.ASK_SERVER: "ask the server that it comes to: `GET /devices/{of}/diagnosis`",
        Deed.ASK_SWITCH: "ask the switches: `GET /devices/{of}/switch-port`",
        Deed.ASSIGN_LICENSE: "give the user one: `POST /users/{of}/licenses`",
        Deed.ASSIGN_NUMBER: "give it one: `PUT /numbers/{{number}}/extension`",
        Deed.BIND: "bind it to a line: `PUT /devices/{{mac}}/lines/{{line}}`",
        Deed.BIND_LINE: "bind one: `PUT /devices/{of}/lines/{{line}}`",
        Deed.CLOSE_KEY_RECORDING: "end that first: `POST /key-recordings/close`",
        Deed.END_WIPE: "end its wipe: `DELETE /devices/{of}/wipe`",
        Deed.FORGET_PIN: "have the next that comes taken, whoever brings it: `DELETE /devices/{of}/pin`",
        Deed.ISSUE_CODE: "make one: `POST /codes`",
        Deed.ISSUE_CODE_INSTEAD: "make a new one: `POST /codes`, with `replace` where a phone has the extension",
        Deed.LIST_EXTENSIONS: "look at the user names: `GET /extensions`",
        Deed.LIST_MODELS: "take a model from the list: `GET /models`",
        Deed.LIST_SETTINGS: "take a setting from the list: `GET /settings-of-devices`",
        Deed.LOOK_WHERE_IT_LISTENS: "look at its ports: `GET /settings`",
        Deed.MAKE_DIGEST_SECRET: "make one: `POST /devices/{of}/digest-secret`",
        Deed.MOVE_DEVICE: "move it: `PUT /devices/{of}/place`",
        Deed.OPEN_KEY_RECORDING: "record some: `POST /key-recordings/open`, then have the phone fetch",
        Deed.PLAN_STORM: "set the timers of a plan: `PUT /storm-values`",
        Deed.READ_CAPTURE: "have the frames read by whoever has them: that is done on their machine",
        Deed.READ_LOG: "look at what it has sent: `GET /devices/{of}/uploads`",
        Deed.REISSUE_CODE: "make another in its place: `POST /extensions/{of}/code/reissue`",
        Deed.RELEASE_NUMBER: "end the hold: `POST /numbers/{of}/release`",
        Deed.RENDER_FILES: "render them: `GET /devices/{of}/files`",
        Deed.REPLACE_PHONE: "say `replace`, or unbind it there: `DELETE /devices/{{mac}}/lines/{{line}}`",
        Deed.RESERVE_NUMBERS: "take another number, or change the list: `PATCH /accounts/{account}/policy`",
        Deed.RESTORE_DEVICE: "take that back: `POST /devices/{of}/restore`",
        Deed.RESUME_LICENSE: "let it count again: `POST /licenses/{of}/resume`",
        Deed.RESYNC_DEVICE: "tell it: `POST /resyncs`",
        Deed.REVEAL_CODE: (
            "read it: `POST /extensions/{of}/code/reveal`, or make another: `POST /extensions/{of}/code/reissue`"
        ),
        Deed.SET_EMAIL: "give the user one: `PATCH /users/{of}`",
        Deed.SET_MODEL: "correct it: `PUT /devices/{of}/model`",
        Deed.SET_RANGE: "set one: `PUT /accounts/{account}/range`",
        Deed.SHOW_DEVICE: "look at it: `GET /devices/{of}`",
        Deed.TAKE_FRAMES: "have frames taken where the phone is: that is done on a machine there",
        Deed.TAKE_FRAMES_AT_SERVER: "have frames taken on the server: that is done on its machine",
        Deed.TRUST_ISSUER: "trust it: `POST /refusals/{{refusal}}/trust`",
        Deed.UNASSIGN_NUMBER: "take it from there: `DELETE /numbers/{of}/extension`",
        Deed.WIPE_WITH_LINES: "say `unbind`: `POST /devices/{of}/wipe`",
    }
)


def call_of(cure: Cure) -> str:
    """What to send; addresses are below ``/api/v1``."""
    return CALLS[cure.deed].format(of=quote(cure.of, safe=""), account=quote(cure.account, safe=""))
