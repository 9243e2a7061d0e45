"""Bulk work: what each kind of job does with a row, which is what a single call would do with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field, create_model

from provisioner.fleet.jobs import MOST_ROWS, NEEDS
from provisioner.http.api.codes import NewCode
from provisioner.http.api.desks import Desks
from provisioner.http.api.devices import NewDevice
from provisioner.http.api.lines import LineWanted
from provisioner.http.api.users import NewExtension, NewUser
from provisioner.http.api.words import AMac, Given, MaybeRef, Ref
from provisioner.model import Mac
from provisioner.rights import Right

Result = Mapping[str, Any]
"""What came of a row, for the report; no secret."""


class LineRow(LineWanted):
    """Who shall be on which line."""

    mac: AMac
    line: Annotated[int, Field(ge=1, le=999)]


class DeviceMove(Given):
    """Where a device shall belong."""

    mac: AMac
    account: Ref
    site: MaybeRef = ""


class DeviceName(Given):
    """A device."""

    mac: AMac


class DeviceWipe(DeviceName):
    """A device that is to forget everything."""

    unbind: Annotated[bool, Field(description="Free its lines, too; otherwise one with lines is refused")] = False


async def _add_device(desks: Desks, row: Any) -> Result:
    made = await desks.fleet.add_device(
        Mac(row.mac), vendor=row.vendor, model=row.model, account=row.account, site=row.site
    )
    return {"mac": made.mac}


async def _bind(desks: Desks, row: Any) -> Result:
    made = await desks.lines.rebind(
        Mac(row.mac), row.line, extension=row.extension, user=row.user, label=row.label, replace=row.replace,
        resync=row.resync,
    )  # fmt: skip
    freed = [f"{one.mac}/{one.line}" for one in made.freed]
    return {"mac": row.mac, "line": row.line, "number": made.binding.number, "freed": freed, "campaign": made.campaign}


async def _add_user(desks: Desks, row: Any) -> Result:
    return {"id": (await desks.fleet.add_user(row.name, account=row.account, email=row.email, kind=row.kind)).id}


async def _add_extension(desks: Desks, row: Any) -> Result:
    made = await desks.fleet.add_extension(
        row.number, account=row.account, user=row.user, display_name=row.display_name, auth_user=row.auth_user,
        secret=row.secret,
    )  # fmt: skip
    return {"id": made.id, "number": made.number}


async def _issue(desks: Desks, row: Any) -> Result:
    made = await desks.codes.issue(
        row.extension, account=row.account, life=row.life, model=row.model, mac=Mac(row.mac) if row.mac else None,
        site=row.site, replace=row.replace, mail=row.mail,
    )  # fmt: skip
    return {"id": made.about.id, "number": made.about.number, "expires": made.expires}


async def _move(desks: Desks, row: Any) -> Result:
    await desks.fleet.move_device(Mac(row.mac), account=row.account, site=row.site)
    return {"mac": row.mac}


async def _revoke(desks: Desks, row: Any) -> Result:
    await desks.fleet.revoke_device(Mac(row.mac))
    return {"mac": row.mac}


async def _remove(desks: Desks, row: Any) -> Result:
    await desks.fleet.remove_device(Mac(row.mac))
    return {"mac": row.mac}


async def _wipe(desks: Desks, row: Any) -> Result:
    await desks.fleet.wipe_device(Mac(row.mac), unbind=row.unbind)
    return {"mac": row.mac}


async def _resync(desks: Desks, row: Any) -> Result:
    return {"mac": row.mac, "campaign": await desks.lines.tell([await _there(desks, row.mac)])}


async def _there(desks: Desks, mac: str) -> Mac:
    """NotFound where there is none within reach."""
    return (await desks.fleet.device(Mac(mac))).mac


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of job."""

    name: str
    says: str
    row: type[BaseModel]
    apply: Callable[[Desks, Any], Awaitable[Result]]
    """One use-case, so that a row is done or not."""
    same: tuple[str, ...]
    """Fields that no two rows of a job may have alike."""

    @property
    def right(self) -> Right:
        """What its rows take."""
        return NEEDS[self.name][0]

    @property
    def body(self) -> type[BaseModel]:
        """What a job of this kind is begun with."""
        return _BODIES[self.name]


KINDS: Final[Mapping[str, Kind]] = {
    one.name: one
    for one in (
        Kind("devices", "Add devices", NewDevice, _add_device, ("mac",)),
        Kind("lines", "Put extensions or users on lines", LineRow, _bind, ("mac", "line")),
        Kind("users", "Add users", NewUser, _add_user, ()),
        Kind("extensions", "Add extensions", NewExtension, _add_extension, ("account", "number")),
        Kind("codes", "Issue activation codes, without telling their digits", NewCode, _issue,
             ("account", "extension")),
        Kind("moves", "Give devices to another account or site", DeviceMove, _move, ("mac",)),
        Kind("revocations", "Serve devices nothing any more", DeviceName, _revoke, ("mac",)),
        Kind("wipes", "Have devices forget everything", DeviceWipe, _wipe, ("mac",)),
        Kind("resyncs", "Have devices fetch again", DeviceName, _resync, ("mac",)),
        Kind("removals", "Forget devices", DeviceName, _remove, ("mac",)),
    )
}  # fmt: skip


def _body(kind: Kind) -> type[BaseModel]:
    most = Field(min_length=1, max_length=MOST_ROWS)
    rows = Annotated[Sequence[kind.row], most]  # type: ignore[name-defined]  # made at run time
    dry = Annotated[bool, Field(description="Check every row and change nothing")]
    account = Annotated[MaybeRef, Field(description="Whose job it is: who reaches the account sees it, too")]
    made = create_model(
        f"{kind.name.title()}Job", __base__=Given, rows=(rows, ...), dry_run=(dry, False), account=(account, "")
    )
    made.__doc__ = f"{kind.says}: rows that are all checked before the first is applied."
    return made


_BODIES: Final = {name: _body(kind) for name, kind in KINDS.items()}
