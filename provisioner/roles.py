"""What there is to be allowed, and which role carries it how far: the matrix of roles and rights. Pure.

Deny by default: what no row names is not carried.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Right(StrEnum):
    """One thing that one may do; ``RIGHT_WORDS`` says each in words."""

    ACCOUNT_READ = "account.read"
    ACCOUNT_WRITE = "account.write"
    SITE_WRITE = "site.write"
    PEOPLE_READ = "people.read"
    PEOPLE_WRITE = "people.write"
    LICENSE_READ = "license.read"
    LICENSE_WRITE = "license.write"
    NUMBER_READ = "number.read"
    NUMBER_WRITE = "number.write"
    DEVICE_READ = "device.read"
    DEVICE_WRITE = "device.write"
    DEVICE_BIND = "device.bind"
    DEVICE_ACCESS = "device.access"
    DEVICE_WIPE = "device.wipe"
    UPLOAD_READ = "upload.read"
    CODE_READ = "code.read"
    CODE_ISSUE = "code.issue"
    CODE_REVEAL = "code.reveal"
    SECRET_WRITE = "secret.write"  # noqa: S105  # the name of a right
    SECRET_REVEAL = "secret.reveal"  # noqa: S105  # the name of a right
    RESYNC = "device.resync"
    DIAGNOSE = "device.diagnose"
    DIAGNOSIS_READ = "diagnosis.read"
    TLS_SECRETS = "diagnosis.tls-secrets"  # the name of a right
    LAYER_READ = "layer.read"
    LAYER_WRITE = "layer.write"
    MODEL_READ = "model.read"
    EVENT_READ = "event.read"
    JOB_READ = "job.read"
    JOB_WRITE = "job.write"
    MAIL_READ = "mail.read"
    MAIL_WRITE = "mail.write"
    HOOK_READ = "hook.read"
    HOOK_WRITE = "hook.write"
    HOOK_POST = "hook.post"
    POLICY_READ = "policy.read"
    POLICY_WRITE = "policy.write"
    ROLE_READ = "role.read"
    ROLE_WRITE = "role.write"
    APIKEY_WRITE = "apikey.write"
    AUDIT_READ = "audit.read"
    SERVER_READ = "server.read"
    SERVER_WRITE = "server.write"
    TRUST_WRITE = "trust.write"
    PROFILE = "profile.open"
    ORDER_PLACE = "order.place"
    PRICE_READ = "price.read"
    PRICE_TOTAL = "price.total"
    DEVICE_REQUEST = "request.place"
    REQUEST_APPROVE = "request.approve"
    SHIPMENT_POST = "shipment.post"
    PORT_WRITE = "port.write"
    PORT_ACCEPT = "port.accept"
    SWITCH_READ = "switch.read"
    SWITCH_WRITE = "switch.write"
    POWER_CYCLE = "device.power"


RIGHT_WORDS: Final[Mapping[Right, str]] = MappingProxyType(
    {
        Right.ACCOUNT_READ: "see accounts and their sites",
        Right.ACCOUNT_WRITE: "add, rename and remove accounts",
        Right.SITE_WRITE: "add, change and remove sites",
        Right.PEOPLE_READ: "see users and extensions",
        Right.PEOPLE_WRITE: "add, change and remove users and extensions",
        Right.LICENSE_READ: "see licenses",
        Right.LICENSE_WRITE: "add, assign, suspend and remove licenses",
        Right.NUMBER_READ: "see phone numbers and ranges of extensions",
        Right.NUMBER_WRITE: "add, assign and remove phone numbers and ranges",
        Right.DEVICE_READ: "see devices, their lines, fetches and progress",
        Right.DEVICE_WRITE: "add, move and remove devices",
        Right.DEVICE_BIND: "bind a Mac's line to an extension, swap and unbind",
        Right.DEVICE_ACCESS: "revoke, unpin, open token URLs, allow HTTP Digest",
        Right.DEVICE_WIPE: "have a device forget everything, and serve it again",
        Right.UPLOAD_READ: "read what devices have sent",
        Right.CODE_READ: "see activation codes without their digits",
        Right.CODE_ISSUE: "issue, send and revoke activation codes",
        Right.CODE_REVEAL: "read the digits of an activation code",
        Right.SECRET_WRITE: "change a SIP or device password",
        Right.SECRET_REVEAL: "read a SIP or device password",
        Right.RESYNC: "tell devices to fetch again or to restart",
        Right.DIAGNOSE: "capture packets and diagnose",
        Right.DIAGNOSIS_READ: "see what a diagnosis has found",
        Right.TLS_SECRETS: "record the TLS secrets of one device for a while, and take them out",
        Right.LAYER_READ: "see settings, and what a device would fetch",
        Right.LAYER_WRITE: "change settings",
        Right.MODEL_READ: "see models and what they can do",
        Right.EVENT_READ: "see what happened to devices",
        Right.JOB_READ: "see jobs and what came of each row",
        Right.JOB_WRITE: "start, halt and cancel jobs",
        Right.MAIL_READ: "see messages that leave this server",
        Right.MAIL_WRITE: "send a message again or drop it",
        Right.HOOK_READ: "see webhooks and their deliveries",
        Right.HOOK_WRITE: "add, change and remove webhooks",
        Right.HOOK_POST: "post to an inbound hook",
        Right.POLICY_READ: "see policies",
        Right.POLICY_WRITE: "change policies and adapters",
        Right.ROLE_READ: "see administrators and their roles",
        Right.ROLE_WRITE: "add and remove administrators, give and take roles and grants",
        Right.APIKEY_WRITE: "make and revoke keys of the API",
        Right.AUDIT_READ: "read the audit log",
        Right.SERVER_READ: "see certificates, settings in use, trust and the storm view",
        Right.SERVER_WRITE: "change certificates, trust, firmware and the master key",
        Right.TRUST_WRITE: "trust the issuer of a refused certificate, or say that its refusal is expected",
        Right.PROFILE: "open the profile listener for a while, and see what phones can do",
        Right.ORDER_PLACE: "place orders",
        Right.PRICE_READ: "see prices and invoices",
        Right.PRICE_TOTAL: "see what an order comes to",
        Right.DEVICE_REQUEST: "request a device",
        Right.REQUEST_APPROVE: "approve requests",
        Right.SHIPMENT_POST: "post shipments and their Macs",
        Right.PORT_WRITE: "create and edit number ports",
        Right.PORT_ACCEPT: "accept fees of a port and expedite it",
        Right.SWITCH_READ: "see switches, and ask them where a phone is plugged in",
        Right.SWITCH_WRITE: "add, change, try and remove switches, and confirm their PoE ports",
        Right.POWER_CYCLE: "take the power from a phone for a minute",
    }
)

REVEALS: Final = frozenset({Right.SECRET_REVEAL, Right.CODE_REVEAL, Right.TLS_SECRETS})
"""Rights to read a secret: whoever has them uses them a short while after they were proven."""
LASTING: Final = frozenset(
    {Right.ROLE_WRITE, Right.APIKEY_WRITE, Right.SERVER_WRITE, Right.TRUST_WRITE, Right.HOOK_WRITE}
)
"""Rights with which somebody gives others a way in that outlives a session: they are proven anew for it."""
HOUSE: Final = frozenset({Right.SERVER_READ, Right.SERVER_WRITE, Right.TRUST_WRITE, Right.PROFILE, Right.TLS_SECRETS})
"""Rights over the installation itself: only who reaches every account can have them."""


class Role(StrEnum):
    """What a person is to an account; one may be several things to several accounts."""

    OWNER = "owner"
    DEVICE_ADMIN = "device-admin"
    SITE_ADMIN = "site-admin"
    ORDERER = "orderer"
    BILLING = "billing"
    PORT_AGENT = "port-agent"
    APPROVER = "approver"
    EMPLOYEE = "employee"
    TECHNICIAN = "technician"
    DEALER = "dealer"
    AUDITOR = "auditor"
    PARTNER = "partner"


class Extent(StrEnum):
    """How far a role carries a right."""

    ALL = "all"
    """Everything of the account."""
    SITE = "own site"
    OWN = "own"
    """Only the person's own line, phone, orders or deeds."""
    GRANT = "grant"
    """Not by itself: for as long as somebody grants it."""


_R, _ALL, _SITE, _OWN, _GRANT = Right, Extent.ALL, Extent.SITE, Extent.OWN, Extent.GRANT
_SEES: Final = (
    _R.ACCOUNT_READ,
    _R.PEOPLE_READ,
    _R.LICENSE_READ,
    _R.NUMBER_READ,
    _R.DEVICE_READ,
    _R.CODE_READ,
    _R.LAYER_READ,
    _R.MODEL_READ,
    _R.EVENT_READ,
    _R.JOB_READ,
    _R.POLICY_READ,
)
_RUNS_PHONES: Final = (
    _R.DEVICE_WRITE,
    _R.DEVICE_BIND,
    _R.DEVICE_ACCESS,
    _R.DEVICE_WIPE,
    _R.CODE_ISSUE,
    _R.CODE_REVEAL,
    _R.RESYNC,
    _R.LAYER_WRITE,
    _R.JOB_WRITE,
    _R.UPLOAD_READ,
)
_RUNS_PEOPLE: Final = (_R.SITE_WRITE, _R.PEOPLE_WRITE, _R.LICENSE_WRITE, _R.NUMBER_WRITE, _R.SECRET_WRITE)
_ORDERS: Final = (_R.ORDER_PLACE, _R.PRICE_TOTAL)
_TELLS_OTHERS: Final = (_R.MAIL_READ, _R.MAIL_WRITE, _R.HOOK_READ)


def _row(*groups: tuple[Extent, Iterable[Right]]) -> Mapping[Right, Extent]:
    return MappingProxyType({right: extent for extent, rights in groups for right in rights})


MATRIX: Final[Mapping[Role, Mapping[Right, Extent]]] = MappingProxyType(
    {
        Role.OWNER: _row((_ALL, Right)),
        Role.DEVICE_ADMIN: _row(
            (_ALL, (*_SEES, *_RUNS_PHONES, *_RUNS_PEOPLE, *_TELLS_OTHERS)),
            (_ALL, (_R.SECRET_REVEAL, _R.DIAGNOSE, _R.DIAGNOSIS_READ, _R.DEVICE_REQUEST, _R.SHIPMENT_POST)),
            (_ALL, (_R.HOOK_POST, _R.SWITCH_READ, _R.SWITCH_WRITE, _R.POWER_CYCLE)),
            (_OWN, (_R.AUDIT_READ,)),
        ),
        Role.SITE_ADMIN: _row(
            (_SITE, (*_SEES, *_RUNS_PHONES, _R.DIAGNOSIS_READ, _R.SWITCH_READ, _R.POWER_CYCLE)),
            (_SITE, (_R.DEVICE_REQUEST, _R.REQUEST_APPROVE, _R.AUDIT_READ)),
        ),
        Role.ORDERER: _row((_ALL, (_R.ACCOUNT_READ, _R.MODEL_READ, *_ORDERS, _R.DEVICE_REQUEST))),
        Role.BILLING: _row(
            (_ALL, (_R.ACCOUNT_READ, _R.MODEL_READ, _R.LICENSE_READ, *_ORDERS, _R.PRICE_READ)),
            (_ALL, (_R.DEVICE_REQUEST, _R.PORT_ACCEPT)),
        ),
        Role.PORT_AGENT: _row((_ALL, (_R.ACCOUNT_READ, _R.NUMBER_READ, _R.PORT_WRITE)), (_OWN, (_R.AUDIT_READ,))),
        Role.APPROVER: _row(
            (_ALL, (_R.ACCOUNT_READ, _R.PRICE_TOTAL, _R.DEVICE_REQUEST)), (_OWN, (_R.REQUEST_APPROVE,))
        ),
        Role.EMPLOYEE: _row(
            (_OWN, (_R.PEOPLE_READ, _R.DEVICE_READ, _R.DEVICE_REQUEST, _R.CODE_READ, _R.CODE_REVEAL, _R.RESYNC))
        ),
        Role.TECHNICIAN: _row(
            (_ALL, (*_SEES, _R.UPLOAD_READ, _R.RESYNC, _R.DIAGNOSE, _R.DIAGNOSIS_READ, _R.SWITCH_READ)),
            (_ALL, (_R.PROFILE,)),
            (_GRANT, (_R.DEVICE_BIND, _R.CODE_ISSUE, _R.CODE_REVEAL, _R.SECRET_REVEAL, _R.POWER_CYCLE)),
        ),
        Role.DEALER: _row((_OWN, (_R.SHIPMENT_POST,))),
        Role.AUDITOR: _row((_ALL, (*_SEES, _R.AUDIT_READ, _R.PRICE_READ, _R.PRICE_TOTAL, _R.ROLE_READ, _R.HOOK_READ))),
        Role.PARTNER: _row(
            (_ALL, (*_SEES, *_RUNS_PEOPLE, *_TELLS_OTHERS)),
            (_ALL, (_R.DEVICE_WRITE, _R.DEVICE_BIND, _R.DEVICE_ACCESS, _R.CODE_ISSUE, _R.CODE_REVEAL, _R.RESYNC)),
            (_ALL, (_R.DEVICE_WIPE, _R.LAYER_WRITE, _R.JOB_WRITE, _R.UPLOAD_READ, _R.AUDIT_READ)),
            (_ALL, (_R.ACCOUNT_WRITE, _R.APIKEY_WRITE, *_ORDERS, _R.PRICE_READ, _R.PORT_WRITE, _R.PORT_ACCEPT)),
        ),
    }
)

GRANTABLE: Final = frozenset(
    right for row in MATRIX.values() for right, extent in row.items() if extent is Extent.GRANT
)
"""What can be given for a time to somebody whose role does not carry it."""
