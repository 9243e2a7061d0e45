"""A request for every route of the table, about things whose names the test gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from provisioner.http.api.routes import Route

Names = Mapping[str, str]
"""account, site, user, extension, mac, number, license, rollout, campaign, job, message, administrator, key, place,
webhook, source, posted."""

RULES = '[[rules]]\naction = "ignore"\n'

BODIES: Mapping[str, Mapping[str, Any]] = {
    "NewAccount": {"name": "{fresh}", "parent": "{account}"},
    "AccountName": {"name": "{fresh}"},
    "AccountParent": {"parent": "{account}"},
    "NewSite": {"name": "{fresh}", "account": "{account}"},
    "NewUser": {"name": "{fresh}", "account": "{account}"},
    "UserChange": {"email": "{fresh}@example.net"},
    "SiteChange": {"location": "{fresh}"},
    "ExtensionChange": {"display_name": "{fresh}"},
    "NewExtension": {"number": "7{digits}", "account": "{account}", "user": "{user}"},
    "NewSecret": {},
    "HoldWish": {"account": "{account}"},
    "NewDevice": {"mac": "{free_mac}", "vendor": "poly", "model": "VVX 411", "account": "{account}"},
    "DevicePlace": {"account": "{account}"},
    "DeviceModel": {"model": "VVX 400"},
    "Access": {"token": True},
    "Pinning": {},
    "LineWanted": {"extension": "{extension}"},
    "SwapWanted": {"new": "{free_mac}", "vendor": "poly", "model": "VVX 411", "dry_run": True},
    "NewCode": {"extension": "{extension}"},
    "Ties": {"extension": "{extension}"},
    "Again": {},
    "NewToken": {},
    "Purchase": {"account": "{account}"},
    "LicenseWish": {},
    "PolicyChange": {"phones": 2},
    "NewNumbers": {"account": "{account}", "numbers": ["88{digits}"]},
    "HoldFor": {},
    "Target": {"extension": "{extension}"},
    "NewRange": {"range": "100-199"},
    "LayerChange": {"values": {"language": "de-DE"}},
    "RevertWish": {},
    "Promotion": {},
    "ResyncWish": {"account": "{account}"},
    "Shape": {"vendors": {"poly": {"poll.period": 7200}}},
    "NewAdministrator": {"email": "{fresh}@example.net", "role": "auditor", "account": "{account}"},
    "RoleAt": {"role": "auditor", "account": "{account}"},
    "GrantWish": {"right": "device.bind", "seconds": 600, "account": "{account}"},
    "ReplayWish": {"kind": "mail.code", "account": "{account}"},
    "NewKey": {"name": "{fresh}", "scopes": ["device.read"], "accounts": ["{account}"]},
    "DevicesJob": {"rows": [{"mac": "{free_mac}", "vendor": "poly", "model": "VVX 411", "account": "{account}"}]},
    "LinesJob": {"rows": [{"mac": "{mac}", "line": 1, "extension": "{extension}"}]},
    "UsersJob": {"rows": [{"name": "{fresh}", "account": "{account}"}]},
    "ExtensionsJob": {"rows": [{"number": "9{digits}", "account": "{account}", "user": "{user}"}]},
    "CodesJob": {"rows": [{"extension": "{extension}"}]},
    "MovesJob": {"rows": [{"mac": "{mac}", "account": "{account}"}]},
    "RevocationsJob": {"rows": [{"mac": "{mac}"}]},
    "NewWebhook": {"url": "https://hooks.example.net/{fresh}", "account": "{account}", "name": "{fresh}"},
    "WebhookChange": {"events": ["binding.*"]},
    "Replay": {},
    "NewSource": {"name": "{fresh}", "account": "{account}", "rules": RULES},
    "SourceChange": {"rules": RULES},
    "NewSourceSecret": {},
    "Trial": {"document": "null"},
    "WipesJob": {"rows": [{"mac": "{mac}", "unbind": True}]},
    "ResyncsJob": {"rows": [{"mac": "{mac}"}]},
    "TrustWish": {"fingerprints": ["a1" * 32]},
    "Expectation": {"models": ["VVX 411"], "note": "{fresh}"},
    "Dismissal": {},
    "NewSwitch": {"name": "{fresh}", "account": "{account}", "address": "127.0.0.1", "read": {"community": "public"}},
    "SwitchChange": {"port": 1161},
    "PortMap": {"interface": 7, "poe": "1.7"},
    "PowerWish": {},
    "PowerPolicyChange": {"allowed": False},
    "KeyRecordingNamed": {"mac": "{mac}"},
    "KeyRecordingOpening": {"mac": "{mac}"},
    "ProfileOpening": {},
    "RemovalsJob": {"rows": [{"mac": "{mac}"}]},
}
QUERIES: Mapping[str, str] = {
    "show_file": "name={mac}.cfg",
    "reveal_file": "name={mac}.cfg",
    "show_difference": "name={mac}.cfg",
    "take_role": "role=auditor&account={account}",
    "begin_import": "account={account}",
    "show_address_diagnosis": "address=203.0.113.7",
}
NARROW = {"account", "site", "user", "extension", "mac"}
"""What a list is asked for."""
HELD_BACK = {"stream_events"}
"""Never ends; it has tests of its own."""


def request_of(route: Route, names: Names) -> tuple[str, Any]:
    """Path with its query, and body."""
    places = {
        "scope": "account",
        "line": "1",
        "event": "999999999",
        "revision": "1",
        "vendor": "poly",
        "model": "VVX 411",
        "digest": "0" * 64,
        "refusal": "0" * 16,
        "cycle": "1",
        **names,
        "key": names["place"],
    }
    places |= {"key": names["apikey"]} if route.noun == "keys" else {}
    path = route.path.format(**{name: value.replace("+", "%2B") for name, value in places.items()})
    if route.name in QUERIES:
        path += "?" + QUERIES[route.name].format(**names)
    body = None if route.body is None else filled(BODIES[route.body.__name__], names)
    return path, body


def file_of(route: Route, names: Names) -> bytes | None:
    """What a route is sent that takes files: a row about these things."""
    if not route.takes:
        return None
    return "account,user,extension,mac,model\n{account},{fresh},7{digits},{free_mac},VVX 411\n".format(**names).encode()


def narrowed(route: Route, names: Names) -> list[str]:
    """The same list asked for by each thing that can be named in its query."""
    return [f"{name}={names[name]}" for name in route.query.model_fields if name in NARROW]


def filled(value: Any, names: Names) -> Any:
    if isinstance(value, str):
        return value.format(**names)
    if isinstance(value, Mapping):
        return {key: filled(one, names) for key, one in value.items()}
    return [filled(one, names) for one in value] if isinstance(value, list) else value
