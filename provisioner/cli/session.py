"""What every command shares: where DATA is, whether a script reads, and the one edge where errors become exit codes."""

from __future__ import annotations

import asyncio
import functools
import getpass
import ipaddress
import json
import os
import shlex
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

import click
from click.core import ParameterSource

from provisioner import settings
from provisioner.cli.cures import command_of, told
from provisioner.errors import Invalid, ProvisionerError, StoreFailed, Unusable
from provisioner.model import ListenerKind, Mac
from provisioner.run_directory import read_addresses
from provisioner.terminal import console, show

if TYPE_CHECKING:
    from provisioner.bindings import Exchanged
    from provisioner.fleet.fleet import Fleet
    from provisioner.preview import Preview
    from provisioner.store.database import Store
    from provisioner.vendor import VendorDriver

P = ParamSpec("P")
D = TypeVar("D")
Made = TypeVar("Made", covariant=True)

OK: Final = 0
REFUSED: Final = 1
"""Refused, not found, in conflict, or a check that failed."""
UNUSABLE: Final = 2
"""Wrong usage, or an installation that cannot run as it is."""
_OCTETS: Final = 6
_NAMED: Final = ("account", "site", "user", "extension", "key")
"""Fields that hold an id which people call otherwise."""
INTERNAL: Final = 3
"""A fault of the program itself."""


@dataclass(slots=True)
class Session:
    """Filled by the options that may stand before or after the verb."""

    data: Path = settings.DEFAULT_DATA
    as_json: bool = False

    def settings(self) -> settings.Settings:
        """The installation's settings; Unusable when there is no installation."""
        if not (self.data / "provisioner.toml").is_file():
            raise Unusable(
                f"{self.data} holds no installation; `provisioner init --data {self.data}` makes one, "
                "--data or PROVISIONER_DATA names another"
            )
        return settings.load(self.data)


class Failed(click.ClickException):
    """An expected error as the command line tells it: what and why on stderr, and an exit code."""

    exit_code = REFUSED

    def __init__(self, error: ProvisionerError, as_json: bool) -> None:
        super().__init__(told(error))
        self.error, self.as_json = error, as_json

    def show(self, file: object = None) -> None:  # noqa: ARG002  # click's signature
        """One line for people, one object for scripts; both on stderr."""
        if self.as_json:
            about = {"field": self.error.field} if isinstance(self.error, Invalid) else {}
            about |= {"cause": self.error.cause} | ({"cure": command_of(self.error.cure)} if self.error.cure else {})
            click.echo(json.dumps({"error": {"kind": self.error.kind, **about}}), err=True)
            return
        console(stderr=True).print("Error:", style="bold red", end=" ")
        click.echo(self.message, err=True)


class Misused(click.ClickException):
    """Wrong usage, told to a script."""

    exit_code = UNUSABLE

    def show(self, file: object = None) -> None:  # noqa: ARG002  # click's signature
        """One object on stderr."""
        click.echo(json.dumps({"error": {"kind": "usage", "cause": self.message}}), err=True)


@contextmanager
def telling_usage(as_json: bool) -> Iterator[None]:
    """Let wrong usage be told in JSON where that was asked for; click's own words otherwise."""
    try:
        yield
    except click.UsageError as error:
        if not as_json:
            raise
        raise Misused(error.format_message()) from error


class Broken(Failed):
    """The installation cannot do it as it is."""

    exit_code = UNUSABLE


def _remember(field: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(ctx: click.Context, _param: click.Parameter, value: Any) -> None:
        if value not in (None, False):
            setattr(ctx.ensure_object(Session), field, value)

    return callback


def shared_options(*, from_environment: bool = False) -> list[click.Parameter]:
    """``--data`` and ``--json``: taken before the first word as well as after the last."""
    return [
        click.Option(
            ["--data"],
            type=click.Path(path_type=Path, file_okay=False),
            metavar="DIR",
            envvar="PROVISIONER_DATA" if from_environment else None,
            show_envvar=True,
            expose_value=False,
            callback=_remember("data"),
            help="Where the installation lies.  [default: ./data]",
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            expose_value=False,
            callback=_remember("as_json"),
            help="Answer in JSON, errors too.",
        ),
    ]


def with_password(command: Callable[P, object]) -> Callable[P, object]:
    """Options for a password, which stands in no argument: every user of the machine sees those (ps)."""
    stdin = click.option("--password-stdin", is_flag=True, help="Read a password from the first line of stdin.")
    ask = click.option("--ask-password", is_flag=True, help="Ask for a password on the terminal.")
    return stdin(ask(command))


def password_of(*, from_stdin: bool, ask: bool, twice: bool = False) -> str:
    """What was piped in or typed; empty for none."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=twice, err=True)) if ask else ""


class Verb(click.Command):
    """A command that takes the shared options and turns expected errors into exit codes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(shared_options())

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; what it returns is shown."""
        session = ctx.ensure_object(Session)
        try:
            exit_code = show(super().invoke(ctx), session.as_json)
        except ProvisionerError as error:
            told = Broken if isinstance(error, (Unusable, StoreFailed)) else Failed
            raise told(error, session.as_json) from error
        ctx.exit(exit_code)


class Nouns(click.Group):
    """A group of verbs; the shared options may stand behind its name, too."""

    command_class = Verb
    group_class = type

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not any(one.name == "data" for one in self.params):
            self.params.extend(shared_options())


def session() -> Session:
    """The Session of the command that is running."""
    return click.get_current_context().ensure_object(Session)


@contextmanager
def writing(path: Path, option: str = "") -> Iterator[None]:
    """Tell of a file that cannot be written, and how another one is named."""
    try:
        yield
    except OSError as error:
        way = f"with {option}" if option else "instead"
        raise Unusable(f"{path} cannot be written ({error.strerror}); name another file {way}") from error


def mac_of(typed: str) -> Mac:
    """A MAC as people type it; some systems print it without leading zeros. Nothing that a phone says is read so."""
    parts = typed.strip().split(":")
    if len(parts) not in (1, _OCTETS) and any(len(one) % 2 for one in parts):
        raise Invalid("mac", f"{typed[:40]!r} is not a MAC address: it leaves open where a digit is missing")
    return Mac.parse(":".join(one.zfill(2) for one in parts) if len(parts) == _OCTETS else "".join(parts))


class MacType(click.ParamType[Mac]):
    """A MAC address in any usual spelling."""

    name = "mac"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Mac:
        """Parse it, or say on the command line what is wrong."""
        try:
            return mac_of(str(value))
        except Invalid as error:
            self.fail(error.why, param, ctx)


MAC: Final = MacType()


class AddressType(click.ParamType[str]):
    """An IP address, as whoever types it."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check it, or say on the command line what is wrong."""
        try:
            ipaddress.ip_address(value)
        except ValueError:
            self.fail(f"{str(value)[:60]!r} is no IP address", param, ctx)
        return str(value)


ADDRESS: Final = AddressType()


class WhomType(click.ParamType[str]):
    """A phone by its MAC, or whoever comes from an IP address."""

    name = "whom"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Either in any usual spelling, as it was typed."""
        if value and mac_in(value) is None:
            try:
                ipaddress.ip_address(value)
            except ValueError:
                self.fail(f"{str(value)[:60]!r} is neither a MAC nor an IP address", param, ctx)
        return str(value)


WHOM: Final = WhomType()


def mac_in(whom: str) -> Mac | None:
    """The MAC that this is; None where it is something else."""
    try:
        return mac_of(whom)
    except Invalid:
        return None


def said(option: str) -> bool:
    """Whether the running command was given this option, with whatever value."""
    return click.get_current_context().get_parameter_source(option) is not ParameterSource.DEFAULT


@asynccontextmanager
async def open_fleet(configured: settings.Settings) -> AsyncIterator[Fleet]:
    """The administrator's use-cases over this installation's store, in the name of whoever is logged in."""
    from provisioner.fleet.fleet import Fleet  # the store's weight is not every command's
    from provisioner.store.database import Store
    from provisioner.vendors import drivers

    async with Store.of(configured) as store:
        yield Fleet(store, {one.manifest.name: one for one in drivers(configured.data / "templates")}, actor=acting())


async def previewed(mac: Mac) -> Preview:
    """What the device edge would make of the device now."""
    from provisioner.preview import Preview  # nor is the device edge's
    from provisioner.store.database import Store
    from provisioner.vendors import drivers

    configured = session().settings()
    known = {one.manifest.name: one for one in drivers(configured.data / "templates")}
    async with Store.of(configured) as store:
        return await Preview.load(store, known, mac, device_url(configured), configured, _authority(configured))


def _authority(configured: settings.Settings) -> str:
    from provisioner.installation import ca_file  # nor are the makers of certificates

    path = ca_file(configured.data)
    return path.read_text("ascii") if path.is_file() else ""


def device_url(configured: settings.Settings) -> str:
    """Where phones fetch from: the port that the running server has bound, or that the next one will."""
    host = f"[{configured.server_name}]" if ":" in configured.server_name else configured.server_name
    _, port = read_addresses(configured.data).get(ListenerKind.DEVICE, ("", configured.device_port))
    return f"https://{host}:{port}/"


async def names_in(fleet: Fleet, found: object) -> Mapping[str, str]:
    """Names by id of what these rows speak of, and of nothing else: an account may have a million others."""
    rows = found if isinstance(found, (list, tuple)) else [found]
    return await fleet.names({getattr(row, name, "") for row in rows for name in _NAMED} - {"", None})


def acting() -> str:
    """Who is logged in: the actor of events."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"  # a container's user that has no name


def with_fleet(function: Callable[Concatenate[Fleet, P], Awaitable[object]]) -> Callable[P, object]:
    """Let a coroutine that takes the administrator's use-cases be a command."""

    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> object:
        async def call() -> object:
            async with open_fleet(session().settings()) as fleet:
                return await function(fleet, *args, **kwargs)

        return asyncio.run(call())

    return command


class Making(Protocol[Made]):
    """Use-cases, as a command has them made."""

    def __call__(
        self, store: Store, drivers: Mapping[str, VendorDriver], settings: settings.Settings, /, *, actor: str
    ) -> Made:
        """They work on this store, as whoever is logged in."""


class _Plain(Protocol[Made]):
    """The same of those that go by no settings."""

    def __call__(self, store: Store, drivers: Mapping[str, VendorDriver], /, *, actor: str) -> Made: ...


def without_settings(desk: _Plain[D]) -> Making[D]:
    """Have them made as those are that go by settings."""
    return lambda store, drivers, _settings, /, *, actor: desk(store, drivers, actor=actor)


def with_desk(
    desk: Making[D], *, vendors: bool = True
) -> Callable[[Callable[Concatenate[D, P], Awaitable[object]]], Callable[P, object]]:
    """Let a coroutine that takes these use-cases be a command; ``vendors``: they speak of devices."""

    def wrapper(function: Callable[Concatenate[D, P], Awaitable[object]]) -> Callable[P, object]:
        @functools.wraps(function)
        def command(*args: P.args, **kwargs: P.kwargs) -> object:
            return asyncio.run(_with(desk, vendors, lambda one: function(one, *args, **kwargs)))

        return command

    return wrapper


async def _with(desk: Making[D], vendors: bool, call: Callable[[D], Awaitable[object]]) -> object:
    from provisioner.store.database import Store  # the store's weight is not every command's

    configured = session().settings()
    known = _known(configured) if vendors else {}
    async with Store.of(configured) as store:
        return await call(desk(store, known, configured, actor=acting()))


def _known(configured: settings.Settings) -> Mapping[str, VendorDriver]:
    from provisioner.vendors import drivers  # nor are the makers of templates

    return {one.manifest.name: one for one in drivers(configured.data / "templates")}


def told_anew(one: Exchanged | None) -> list[str]:
    """The same of one extension, with whose it is and who gets it."""
    if one is None:
        return []
    command = f"provisioner extension reveal {shlex.quote(one.number)} --account {shlex.quote(one.account_name)}"
    return [f"{one.told}; `{command}` tells it"]


def told_exchanged(numbers: Sequence[str]) -> list[str]:
    """What the PBX has to learn of."""
    return [f"the SIP password of {one} is another one now: `provisioner extension reveal {one}`" for one in numbers]
