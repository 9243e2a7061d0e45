"""How each deed is done in the console: the page on which it is, for whoever may see that; and what else may help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

from provisioner.deeds import Cure, Deed
from provisioner.errors import ProvisionerError
from provisioner.http.console.pages import Call
from provisioner.rights import Right


@dataclass(frozen=True, slots=True)
class Way:
    """A link to where something is done."""

    text: str
    path: str
    """Empty where it is done on no page; then the text says by whom."""
    right: Right


_DEVICE, _WIPE, _USER, _CODES = "/devices/{of}", "/devices/{of}/wipe", "/users/{of}", "/codes"
WAYS: Final[Mapping[Deed, Way]] = MappingProxyType(
    {
        Deed.ACCEPT_PIN: Way("Look at its pin", _DEVICE, Right.DEVICE_READ),
        Deed.ADD_DEVICE: Way("Add it", "/devices/new?mac={of}", Right.DEVICE_WRITE),
        Deed.ADD_LICENSES: Way("Look at the account's licenses", "/licenses?account={account}", Right.LICENSE_READ),
        Deed.ALLOW_EXPIRED: Way("Allow it on the device's page", _DEVICE, Right.DEVICE_READ),
        Deed.ALLOW_TOKEN: Way("Allow them on the device's page", _DEVICE, Right.DEVICE_READ),
        Deed.ASK_SERVER: Way("Look again when it has come", _DEVICE, Right.DEVICE_READ),
        Deed.ASK_SWITCH: Way("Ask the switches", "/devices/{of}/switch-port", Right.SWITCH_READ),
        Deed.ASSIGN_LICENSE: Way("Give the user one", "/licenses?account={account}", Right.LICENSE_READ),
        Deed.ASSIGN_NUMBER: Way("Give it one", "/numbers?account={account}", Right.NUMBER_READ),
        Deed.BIND: Way("Find a phone for it", "/devices", Right.DEVICE_READ),
        Deed.BIND_LINE: Way("Bind one on its page", _DEVICE, Right.DEVICE_READ),
        Deed.CLOSE_KEY_RECORDING: Way("End that on its own page", "/devices/{of}/tls-secrets", Right.TLS_SECRETS),
        Deed.END_WIPE: Way("End its wipe", _WIPE, Right.DEVICE_WIPE),
        Deed.FORGET_PIN: Way("Look at its pin", _DEVICE, Right.DEVICE_READ),
        Deed.ISSUE_CODE: Way("Make one", "/codes/new?extension={of}", Right.CODE_ISSUE),
        Deed.ISSUE_CODE_INSTEAD: Way("Make a new one", "/codes/new?extension={of}", Right.CODE_ISSUE),
        Deed.LIST_EXTENSIONS: Way("Look at the extensions", "/extensions", Right.PEOPLE_READ),
        Deed.LIST_MODELS: Way("Look at the models", "/models", Right.MODEL_READ),
        Deed.LIST_SETTINGS: Way("Look at the layers", "/layers", Right.LAYER_READ),
        Deed.LOOK_WHERE_IT_LISTENS: Way("Look at the server", "/server", Right.SERVER_READ),
        Deed.MAKE_DIGEST_SECRET: Way("Make one on its page", _DEVICE, Right.DEVICE_READ),
        Deed.MOVE_DEVICE: Way("Look at it", _DEVICE, Right.DEVICE_READ),
        Deed.OPEN_KEY_RECORDING: Way("Record some", "/devices/{of}/tls-secrets", Right.TLS_SECRETS),
        Deed.PLAN_STORM: Way("Look at the server", "/server", Right.SERVER_READ),
        Deed.READ_CAPTURE: Way("Whoever has frames of it has them read on his own machine", "", Right.DIAGNOSIS_READ),
        Deed.READ_LOG: Way("Look at what it has sent", _DEVICE, Right.DEVICE_READ),
        Deed.REISSUE_CODE: Way("Look at the codes", _CODES, Right.CODE_READ),
        Deed.RELEASE_NUMBER: Way("Look at the numbers", "/numbers", Right.NUMBER_READ),
        Deed.RENDER_FILES: Way("Render its files", "/devices/{of}/files", Right.LAYER_READ),
        Deed.REPLACE_PHONE: Way("Look where the extension is", "/extensions/{of}", Right.PEOPLE_READ),
        Deed.RESERVE_NUMBERS: Way("Look at the policy", "/policies/{account}", Right.POLICY_READ),
        Deed.RESTORE_DEVICE: Way("Take that back on its own page", _DEVICE, Right.DEVICE_READ),
        Deed.RESUME_LICENSE: Way("Look at the account's licenses", "/licenses?account={account}", Right.LICENSE_READ),
        Deed.RESYNC_DEVICE: Way("Tell it on its page", _DEVICE, Right.DEVICE_READ),
        Deed.REVEAL_CODE: Way("Look at the codes", _CODES, Right.CODE_READ),
        Deed.SET_EMAIL: Way("Give the user one", _USER, Right.PEOPLE_READ),
        Deed.SET_MODEL: Way("Look at it", _DEVICE, Right.DEVICE_READ),
        Deed.SET_RANGE: Way("Set one", "/accounts/{account}", Right.NUMBER_WRITE),
        Deed.SHOW_DEVICE: Way("Look at it", _DEVICE, Right.DEVICE_READ),
        Deed.TAKE_FRAMES: Way("Somebody takes frames where the phone is", "", Right.DIAGNOSIS_READ),
        Deed.TAKE_FRAMES_AT_SERVER: Way("Whoever runs this server takes frames there", "", Right.DIAGNOSIS_READ),
        Deed.TRUST_ISSUER: Way("Look at the refused certificates", "/certificates/refused", Right.SERVER_READ),
        Deed.UNASSIGN_NUMBER: Way("Look at the numbers", "/numbers", Right.NUMBER_READ),
        Deed.WIPE_WITH_LINES: Way("Wipe it with its lines", _WIPE, Right.DEVICE_WIPE),
    }
)
KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "internal": "try again later; the server's log says what happened",
        "store_failed": "try again later; whoever runs this server finds what is wrong with the database by its doctor",
        "render_failed": "correct the setting or template that is named",
        "invalid": "go back, correct it and send it again",
        "malformed": "go back and send the form again",
        "body_too_large": "send less at once",
        "not_found": "look for it in its list; what is out of your reach is not found either",
        "login_refused": "send the right name, password and code",
        "forbidden": "ask an owner of the account for a role that may do this",
        "throttled": "wait a moment, then load the page again",
        "crowded": "close pages that you do not need, or come back later",
        "stale": "look at what has changed, and do it again",
        "wide_change": "look at what phones would get first; that page asks for the number",
        "mail_off": "tell the user yourself, or have whoever runs this server set a mail server",
    }
)
"""What to do, by the kind of error, where nothing nearer is known."""


def way_of(error: ProvisionerError | None, call: Call) -> Way | None:
    """The link to what helps, where whoever asks may go there."""
    return None if error is None else way_to(error.cure, call)


def way_to(cure: Cure | None, call: Call) -> Way | None:
    """The same of a deed."""
    if cure is None:
        return None
    one = WAYS[cure.deed]
    if not call.may(one.right):
        return None
    path = one.path.format(of=quote(cure.of, safe=""), account=quote(cure.account, safe=""))
    return Way(one.text, path, one.right)
