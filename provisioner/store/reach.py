"""Who reaches only some accounts sees only their rows: every statement on such a connection is narrowed before it runs.

The narrowing does not depend on whoever wrote a query. A SELECT, UPDATE or DELETE gets a condition for each table that
it reads from, an INSERT has its values checked, and what cannot be narrowed is not run: a table without a rule, text,
a query over a query that was not narrowed itself. What stands inside a condition only chooses among rows that are
within reach, and is left as it is. Who reaches everything has connections without any of this.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import ColumnElement, Connection, and_, event, exists, false, func, literal, or_, select, true, union
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import Delete, Insert, Update
from sqlalchemy.sql.expression import Alias, CompoundSelect, FromClause, Join, Select, Subquery, TableClause

from provisioner.errors import Forbidden
from provisioner.model import Scope
from provisioner.rights import Principal, Reach
from provisioner.store import schema
from provisioner.store.database import Change, Store
from provisioner.store.hook_queue import UNBOUND

_MARK: Final = "provisioner_within"
_BEYOND: Final = "provisioner_beyond"
_D, _S, _X, _B = (table.alias(f"reached_{table.name}") for table in (
    schema.device, schema.site, schema.extension, schema.binding,
))  # fmt: skip
"""Under names of their own, so that a condition never ties itself to a table of the query it is added to."""
_SHARED: Final = (Scope.DEFAULTS.value, Scope.VENDOR.value, Scope.MODEL.value)
"""Layers that all accounts have: everybody may see what they are served, and whoever reaches everything sets it."""
_FREE: Final = frozenset({"revision", "change", "touched", "audit_head", "activation_budget", "issuers"})
"""How a change is noted and counted, and factory CAs; nothing of an account can be read from them."""

_LIMITED: Final[WeakKeyDictionary[Connection, Reach]] = WeakKeyDictionary()
"""Connections that are narrowed at this moment."""
_CHUNK: Final = 400
"""Macs of one question."""

_ABOUT_EXTENSION: Final = "extension/"
"""How the subject of a message about an extension begins."""

Columns = Any
"""The columns of a table or of an alias of it."""
Rule = Callable[[Columns, Reach, bool], ColumnElement[bool]]
"""Columns, reach, and whether rows are to be changed -> which rows there are."""


def _among(column: ColumnElement[str], idents: Collection[str]) -> ColumnElement[bool]:
    """One of them; where there are none no condition is left in the way of an index."""
    return column.in_(sorted(idents)) if idents else false()


def _whole(c: Columns, reach: Reach) -> ColumnElement[bool]:
    return _among(c.account, reach.accounts or ())


def _of_sites(c: Columns, reach: Reach, write: bool) -> Iterator[ColumnElement[bool]]:
    """Whoever runs a site has to see the people and numbers of its account, as they belong to no site."""
    if reach.sites and not write:
        yield c.account.in_(select(_S.c.account).where(_among(_S.c.id, reach.sites)))


def _account(c: Columns, reach: Reach, write: bool) -> ColumnElement[bool]:
    accounts = reach.accounts or frozenset()
    named: ColumnElement[bool] = _among(c.id, accounts if write else accounts | reach.partly | reach.parents)
    return named


def _site(c: Columns, reach: Reach, write: bool) -> ColumnElement[bool]:  # noqa: ARG001  # a Rule
    return or_(_whole(c, reach), _among(c.id, reach.sites))


def _user(c: Columns, reach: Reach, write: bool) -> ColumnElement[bool]:
    return or_(_whole(c, reach), *_of_sites(c, reach, write), _among(c.id, reach.users))


def _users(c: Columns, reach: Reach, write: bool) -> ColumnElement[bool]:
    """What belongs to a user: extensions, licenses."""
    return or_(_whole(c, reach), *_of_sites(c, reach, write), _among(c.user, reach.users))


def _people(c: Columns, reach: Reach, write: bool) -> ColumnElement[bool]:
    return or_(_whole(c, reach), *_of_sites(c, reach, write))


def _placed(c: Columns, reach: Reach, write: bool) -> ColumnElement[bool]:
    """Numbers and ranges: those of one's own sites, and those of no site."""
    here = or_(c.site.is_(None), _among(c.site, reach.sites))
    return or_(_whole(c, reach), *(one & here for one in _of_sites(c, reach, write)))


def _switch(c: Columns, reach: Reach, write: bool) -> ColumnElement[bool]:
    """A site's own, and to be asked those of its whole account."""
    shared = (c.site.is_(None) & one for one in _of_sites(c, reach, write))
    own = c.site.is_not(None) & _among(c.site, reach.sites)  # false for none, as its contrary is asked for, too
    return or_(_whole(c, reach), own, *shared)


def _device(c: Columns, reach: Reach, write: bool) -> ColumnElement[bool]:  # noqa: ARG001  # a Rule
    mine = [_whole(c, reach)]
    if reach.sites:
        mine.append(_among(c.site, reach.sites))
    if reach.users:
        held = (_B.c.mac == c.mac) & _B.c.until.is_(None) & (_X.c.id == _B.c.extension)
        mine.append(exists(select(_B.c.mac).where(held, _among(_X.c.user, reach.users))))
    return or_(*mine)


def _mac(c: Columns, reach: Reach, write: bool) -> ColumnElement[bool]:
    """What belongs to a device."""
    return exists(select(_D.c.mac).where(_D.c.mac == c.mac, _device(_D.c, reach, write)))


def _code(c: Columns, reach: Reach, write: bool) -> ColumnElement[bool]:  # noqa: ARG001  # a Rule
    same = (_D.c.mac == c.mac) & (_D.c.account == c.account)  # the device may have come to another account since
    its = exists(select(_D.c.mac).where(same, _device(_D.c, reach, False)))
    mine = [_whole(c, reach), _among(c.site, reach.sites), (c.mac != "") & its]
    if reach.users:
        mine.append(exists(select(_X.c.id).where(_X.c.id == c.extension, _among(_X.c.user, reach.users))))
    return or_(*mine)


def _cycle(c: Columns, reach: Reach, write: bool) -> ColumnElement[bool]:
    """What was done in a former account stays there when the device has come to another one."""
    same = (_D.c.mac == c.mac) & (_D.c.account == c.account)
    return or_(_whole(c, reach), exists(select(_D.c.mac).where(same, _device(_D.c, reach, write))))


def _message(c: Columns, reach: Reach, write: bool) -> ColumnElement[bool]:  # noqa: ARG001  # a Rule
    """Whoever sees an extension and may bind it has its mails sent and dropped by that; see ``welcome.subject_of``."""
    ident = func.substr(c.subject, len(_ABOUT_EXTENSION) + 1)
    seen = (_X.c.id == ident) & (_X.c.account == c.account) & _users(_X.c, reach, False)
    mine = exists(select(_X.c.id).where(seen))
    return or_(_whole(c, reach), c.subject.startswith(_ABOUT_EXTENSION, autoescape=True) & mine)


def _layer(c: Columns, reach: Reach, write: bool) -> ColumnElement[bool]:
    of_device = exists(select(_D.c.mac).where(_D.c.mac == c.key, _device(_D.c, reach, write)))
    of_site = exists(select(_S.c.id).where(_S.c.id == c.key, _site(_S.c, reach, write)))
    accounts = (reach.accounts or frozenset()) | (frozenset() if write else reach.partly)
    mine = [
        (c.scope == Scope.DEVICE.value) & of_device,
        (c.scope == Scope.SITE.value) & of_site,
        (c.scope == Scope.ACCOUNT.value) & _among(c.key, accounts),
    ]
    return or_(*mine) if write else or_(c.scope.in_(_SHARED), *mine)


def _event(c: Columns, reach: Reach, write: bool) -> ColumnElement[bool]:
    """An administrator's deed belongs to the account it was done to; what a device did, to whose it is now."""
    if write:
        return false()
    of_device = true() if reach.accounts is None else (c.mac != "") & _mac(c, reach, write)
    return or_(c.audit.is_(False) & of_device, c.audit.is_(True) & _deed(c, reach))


def _deed(c: Columns, reach: Reach) -> ColumnElement[bool]:
    if reach.audits is None:
        return true()
    whose = Reach(reach.audits, reach.audited_sites)
    same = (_D.c.mac == c.mac) & or_(c.account == "", _D.c.account == c.account)  # not what was done to it elsewhere
    here = exists(select(_D.c.mac).where(same, _device(_D.c, Reach(sites=whose.sites), False)))
    mine = [_among(c.account, reach.audits), (c.mac != "") & here]
    mine.append((c.account == "") & (c.mac != "") & _mac(c, whose, False))
    if reach.actor:
        mine.append(c.actor == reach.actor)
    return or_(*mine)


_RULES: Final[Mapping[str, Rule]] = {
    "account": _account,
    "site": _site,
    "user": _user,
    "extension": _users,
    "license": _users,
    "phone_number": _placed,
    "extension_range": _placed,
    "extension_hold": _people,
    "policy": _people,
    "device": _device,
    "activation_code": _code,
    "outbox": _message,
    "layer": _layer,
    "layer_revision": lambda c, reach, _write: _layer(c, reach, True),  # who cannot change it is not told who did
    "rollout": lambda c, reach, _write: _layer(c, reach, True),
    "event": _event,
    "seen": lambda _c, _reach, _write: false(),
    "switch": _switch,
    "power_cycle": _cycle,
    "power_policy": lambda c, reach, _write: or_(_whole(c, reach), _among(c.site, reach.sites)),
}


def _rule(name: str, c: Columns) -> Rule:
    """A table's own rule, or what its columns say of whose its rows are; Forbidden where they say nothing."""
    if name in _RULES:
        return _RULES[name]
    if "account" in c:
        return lambda c, reach, _write: _whole(c, reach)
    if "mac" in c:
        return _mac
    raise Forbidden(f"{name} belongs to no account: only who reaches all of them can read it")


def _sources(source: FromClause, *, maybe: bool = False) -> Iterator[tuple[str, FromClause, bool]]:
    """The tables that a FROM stands on, and whether their rows may be missing (the far side of an outer join)."""
    if isinstance(source, Join):
        yield from _sources(source.left, maybe=maybe or source.full)
        yield from _sources(source.right, maybe=maybe or source.isouter or source.full)
    elif isinstance(source, Alias) and isinstance(source.element, TableClause):
        yield source.element.name, source, maybe
    elif isinstance(source, TableClause):
        yield source.name, source, maybe
    elif isinstance(source, Subquery) and _is_within(source.element):
        return  # it was narrowed where it was made
    else:
        raise Forbidden(f"a query over {type(source).__name__} cannot be narrowed to some accounts")


def _is_within(inner: object) -> bool:
    return isinstance(inner, Select) and bool(inner.get_execution_options().get(_MARK))


def _untouched(name: str, reach: Reach) -> bool:
    """Whoever reaches every account is narrowed only in what was done to them."""
    return name in _FREE or (reach.accounts is None and name != "event")


def _conditions(sources: Iterable[FromClause], reach: Reach) -> Iterator[ColumnElement[bool]]:
    for source in sources:
        for name, table, maybe in _sources(source):
            if not _untouched(name, reach):
                mine = _rule(name, table.c)(table.c, reach, False)
                yield or_(mine, and_(*(one.is_(None) for one in table.primary_key))) if maybe else mine


def _is_plain(statement: CompoundSelect[Any]) -> bool:
    """Nothing hangs on the whole that would be lost with it."""
    return not statement._order_by_clauses and statement._limit_clause is None and statement._offset_clause is None


def _narrowed(statement: Any, reach: Reach) -> Any:
    if isinstance(statement, Select):
        sources = statement.get_final_froms()
        if not sources:
            raise Forbidden("a query without a table of its own cannot be narrowed to some accounts")
        return statement.where(*_conditions(sources, reach))
    if isinstance(statement, (Update, Delete)):
        table = statement.table
        assert isinstance(table, TableClause), "one of ours"
        if _untouched(table.name, reach):
            return statement
        return statement.where(_rule(table.name, table.c)(table.c, reach, True))
    if isinstance(statement, CompoundSelect) and statement.keyword.name == "UNION" and _is_plain(statement):
        return union(*(_narrowed(one, reach) for one in statement.selects))
    raise Forbidden(f"{type(statement).__name__} cannot be narrowed to some accounts")


# --- what is written -------------------------------------------------------------------------------------------


def _fits_layer(connection: Connection, row: Mapping[str, Any], reach: Reach) -> bool:
    scope, key = row.get("scope"), str(row.get("key"))
    if scope == Scope.ACCOUNT.value:
        return reach.whole(key)
    if scope == Scope.SITE.value:
        return connection.execute(select(schema.site.c.id).where(schema.site.c.id == key)).first() is not None
    return scope == Scope.DEVICE.value and _has_devices(connection, {key})


def _has_devices(connection: Connection, macs: set[str]) -> bool:
    """Asked on the same connection, so within the same reach."""
    device, wanted = schema.device.c.mac, sorted(macs)
    for start in range(0, len(wanted), _CHUNK):
        some = wanted[start : start + _CHUNK]
        if len(connection.execute(select(device).where(device.in_(some))).all()) < len(some):
            return False
    return True


def _sees_extension(connection: Connection, row: Mapping[str, Any]) -> bool:
    """Whether a message is about an extension that is in reach; asked on the same connection."""
    about, (kind, _, ident) = schema.extension.c, str(row.get("subject")).partition("/")
    wanted = select(about.id).where(about.id == ident, about.account == row.get("account"))
    return f"{kind}/" == _ABOUT_EXTENSION and connection.execute(wanted).first() is not None


def _fits(connection: Connection, name: str, row: Mapping[str, Any], reach: Reach) -> bool:
    """Whether a row with these values would be in reach; of those that hang on a device alone see ``_has_devices``."""
    if name == "account":
        return row.get("parent") in reach.parents
    if name in ("layer", "rollout"):
        return _fits_layer(connection, row, reach)
    if name == "outbox" and _sees_extension(connection, row):
        return True
    if reach.whole(str(row.get("account"))) or row.get("site") in reach.sites:
        return True
    return name != "device" and bool(row.get("mac")) and _has_devices(connection, {row["mac"]})


def _check_only_named(connection: Connection, statement: Update | Delete, given: Sequence[Any], reach: Reach) -> None:
    """Forbidden when a row is meant that can be seen and not changed: it would stay as it is without a word."""
    table, where = statement.table, statement.whereclause
    assert isinstance(table, TableClause), "one of ours"
    if _untouched(table.name, reach) or not (reach.sites or reach.users or reach.partly or reach.parents):
        return
    rule = _rule(table.name, table.c)
    seen = (
        select(literal(1)).select_from(table).where(rule(table.c, reach, False), ~rule(table.c, reach, True)).limit(1)
    )
    seen = seen if where is None else seen.where(where)
    if any(connection.execute(seen, one).first() is not None for one in given or ({},)):
        raise Forbidden(f"a row of {table.name} can be seen from here and not changed")


def _check_written(connection: Connection, statement: Insert | Update, given: Sequence[Any], reach: Reach) -> None:
    """Forbidden when a new row, or a row's new account or site, would be somebody else's."""
    table = statement.table
    assert isinstance(table, TableClause), "one of ours"
    if table.name == "event" or _untouched(table.name, reach):
        return
    fixed = dict(statement.compile().params)
    rows = [{key: one for key, one in {**fixed, **more}.items() if key in table.c} for more in given or ({},)]
    if isinstance(statement, Update):
        rows = [row for row in rows if row.get("account") is not None or "site" in row]
    if "mac" in table.c and "account" not in table.c and isinstance(statement, Insert):
        fits = _has_devices(connection, {str(row.get("mac")) for row in rows})
    else:
        fits = all(_fits(connection, table.name, row, reach) for row in rows)
    if not fits:
        raise Forbidden(f"a row of {table.name} would be beyond the accounts and sites that are within reach")


def within(connection: AsyncConnection, query: Select[Any]) -> Select[Any]:
    """A query that is to stand inside another one, narrowed to what this connection reaches."""
    reach = _LIMITED.get(_plain(connection))
    narrowed: Select[Any] = query if reach is None else _narrowed(query, reach)
    return narrowed.execution_options(**{_MARK: True})


def is_limited(connection: AsyncConnection) -> bool:
    """Whether something is out of its reach."""
    return _plain(connection) in _LIMITED


def beyond(query: Select[Any]) -> Select[Any]:
    """A query that is not narrowed; whoever asks has shown another way that the caller may know what he is told."""
    return query.execution_options(**{_BEYOND: True})


def _plain(connection: AsyncConnection) -> Connection:
    plain = connection.sync_connection
    assert plain is not None, "the connection is open"
    return plain


@contextmanager
def limited(connection: AsyncConnection, reach: Reach) -> Iterator[None]:
    """Within the block nothing beyond ``reach`` is read or written on this connection."""
    plain = _plain(connection)
    before = _LIMITED.get(plain)
    if before == reach:
        yield
        return
    assert before is None, "a use-case runs within one reach"

    def narrow(
        conn: Connection, statement: Any, many: Sequence[Any], one: Mapping[str, Any], _options: object
    ) -> tuple[Any, Sequence[Any], Mapping[str, Any]]:
        options = statement.get_execution_options()
        if options.get(UNBOUND) or (options.get(_BEYOND) and isinstance(statement, Select)):
            return statement, many, one
        given = many or ([one] if one else [])
        if isinstance(statement, (Update, Delete)):
            _check_only_named(conn, statement, given, reach)
        if isinstance(statement, (Insert, Update)):
            _check_written(conn, statement, given, reach)
        return (statement if isinstance(statement, Insert) else _narrowed(statement, reach)), many, one

    event.listen(plain, "before_execute", narrow, retval=True)
    _LIMITED[plain] = reach
    try:
        yield
    finally:
        del _LIMITED[plain]
        event.remove(plain, "before_execute", narrow)


class Limited(Store):
    """A Store for somebody who reaches only some accounts; it lives as long as the one that it is made of."""

    def __init__(self, store: Store, principal: Principal) -> None:
        self.url, self.box, self.uploads = store.url, store.box, store.uploads
        self.engine, self.lossy = store.engine, store.lossy
        self._store = store
        self._principal = principal

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """What is within reach."""
        async with self._store.reading() as connection:
            with limited(connection, self._principal.reach):
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """The same, to be changed."""
        async with self._store.writing() as connection:
            with limited(connection, self._principal.reach):
                yield connection

    @asynccontextmanager
    async def changing(self, actor: str, at: float) -> AsyncIterator[Change]:
        """The same with notice and audit; what a partner does to a child account names both."""
        async with self._store.changing(actor, at) as change:
            change.partner = self._principal.partner_for
            with limited(change.connection, self._principal.reach):
                yield change
