"""Who may do what, and where: the reach that a person's roles and grants add up to. Pure.

Deny by default: a right that no role, grant or scope names is not there, and what is out of reach does not exist.
A person holds roles account by account, so reach belongs to a right: ``Principal.doing`` is the same person, reaching
only as far as they hold the right that a route declares.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from provisioner.errors import Forbidden, ProofNeeded
from provisioner.roles import HOUSE, MATRIX, Extent
from provisioner.roles import Right as Right
from provisioner.roles import Role as Role


@dataclass(frozen=True, slots=True)
class Reach:
    """What somebody can see at all, as ids: whole accounts, and beside them single sites and single users.

    These add up: a device is in reach when its account, its site or the user on one of its lines is.
    """

    accounts: frozenset[str] | None = frozenset()
    """None: every account, and what belongs to none."""
    sites: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()
    partly: frozenset[str] = frozenset()
    """Accounts of those sites and users: they can be named, and no more."""
    actor: str = ""
    """Whose own deeds can be read in the audit log, where nothing else of it can."""
    parents: frozenset[str] = frozenset()
    """Partners' accounts in whose name child accounts can be added."""
    audits: frozenset[str] | None = frozenset()
    """Accounts whose administrators' deeds can be read; None: of all."""
    audited_sites: frozenset[str] = frozenset()
    """Sites at which they can."""

    @property
    def everything(self) -> bool:
        """Every account, what is shared by all, and what was done to any of them."""
        return self.accounts is None and self.audits is None

    def whole(self, account: str) -> bool:
        """Everything of the account."""
        return self.accounts is None or account in self.accounts

    def names(self, account: str) -> bool:
        """The account itself; not all that is in it."""
        return self.whole(account) or account in self.partly

    def device(self, account: str, site: str, users: Collection[str] = ()) -> bool:
        """A device of the account, at the site, with lines of these users."""
        return self.whole(account) or site in self.sites or not self.users.isdisjoint(users)

    def __or__(self, other: Reach) -> Reach:
        """Both together."""
        return Reach(
            _both(self.accounts, other.accounts),
            self.sites | other.sites,
            self.users | other.users,
            self.partly | other.partly,
            self.actor or other.actor,
            self.parents | other.parents,
            _both(self.audits, other.audits),
            self.audited_sites | other.audited_sites,
        )

    def within(self, accounts: frozenset[str]) -> Reach:
        """No more than these accounts; single sites and users only of accounts that are among them."""
        whole = accounts if self.accounts is None else self.accounts & accounts
        audits = accounts if self.audits is None else self.audits & accounts
        if self.partly <= accounts:
            return replace(self, accounts=whole, parents=frozenset(), audits=audits)
        return Reach(whole, audits=audits)


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    return None if one is None or other is None else one | other


EVERYTHING: Final = Reach(accounts=None, audits=None)


@dataclass(frozen=True, slots=True)
class Holding:
    """A role that a person holds: in an account (empty: in all of them), at a site of it, as a user of it."""

    role: Role
    account: str = ""
    site: str = ""
    user: str = ""
    through: str = ""
    """The partner's account through which it is held, where this account is one of its children."""


@dataclass(frozen=True, slots=True)
class Part:
    """Rights that reach equally far."""

    rights: frozenset[Right]
    reach: Reach
    role: Role | None = None
    through: str = ""


def parts_of(holding: Holding, actor: str) -> tuple[Part, ...]:
    """What a held role comes to: one part an extent; a role that lacks the site or user it needs comes to nothing."""
    row = MATRIX[holding.role]
    found = []
    for extent in (Extent.ALL, Extent.SITE, Extent.OWN):
        rights = frozenset(right for right, how in row.items() if how is extent)
        rights = rights if holding.account == "" else rights - HOUSE
        reach = _reach(holding, extent, actor)
        if rights and reach is not None:
            found.append(Part(rights, _audited(reach, rights), holding.role, holding.through))
    return tuple(found)


def granted_part(holding: Holding, right: Right, account: str) -> Part | None:
    """What a grant adds to a held role; None where the role cannot be granted this, or is held elsewhere."""
    if MATRIX[holding.role].get(right) is not Extent.GRANT or (account and holding.account not in {"", account}):
        return None
    reach = _reach(replace(holding, account=account or holding.account), Extent.GRANT, "")
    return None if reach is None else Part(frozenset({right}), reach, holding.role, holding.through)


def _reach(holding: Holding, extent: Extent, actor: str) -> Reach | None:
    account = frozenset({holding.account} - {""})
    if extent is Extent.OWN:
        return Reach(users=frozenset({holding.user} - {""}), partly=account, actor=actor)
    if holding.site:
        return Reach(sites=frozenset({holding.site}), partly=account)
    if extent is Extent.SITE:
        return None
    parents = frozenset({holding.through} - {""})
    return Reach(account - parents if account else None, parents=parents)


def _audited(reach: Reach, rights: frozenset[Right]) -> Reach:
    """Whose deeds can be read goes with the right to, not with everything else that is in reach."""
    if Right.AUDIT_READ not in rights:
        return replace(reach, actor="", audits=frozenset(), audited_sites=frozenset())
    return replace(reach, audits=reach.accounts, audited_sites=reach.sites)


def _less(part: Part, rights: frozenset[Right]) -> Part:
    """No more than these rights; without the one to read deeds nobody's are within reach any more."""
    kept = part.rights & rights
    return replace(part, rights=kept, reach=_audited(part.reach, kept))


@dataclass(frozen=True)
class Principal:
    """Somebody who acts: a person in a session, a key of the API, or the command line on the machine itself."""

    actor: str
    """The name that the audit log has."""
    parts: tuple[Part, ...] = ()
    ident: str = ""
    """Id of the administrator; empty for the machine itself."""
    credential: str = ""
    """Id of the session or API key that proved it; no secret."""
    throttle: str = field(default="", repr=False)
    """Under which name its requests are counted."""
    is_key: bool = False
    """A key of the API rather than a person."""
    stale: frozenset[Right] = frozenset()
    """Rights that it has and cannot use any more: it was proven too long ago for them."""

    @cached_property
    def rights(self) -> frozenset[Right]:
        """All that it may do anywhere."""
        return frozenset().union(*(part.rights for part in self.parts))

    @cached_property
    def roles(self) -> frozenset[Role]:
        """All that it is anywhere."""
        return frozenset(part.role for part in self.parts if part.role)

    @cached_property
    def reach(self) -> Reach:
        """All that it reaches with any right; of one right after ``doing``."""
        found = Reach()
        for part in self.parts:
            found |= part.reach
        return found

    def may(self, right: Right) -> bool:
        """Whether it may do this anywhere at all."""
        return right in self.rights

    def may_in(self, right: Right, account: str) -> bool:
        """Whether it may do this in the whole of an account."""
        return any(right in part.rights and part.reach.whole(account) for part in self.parts)

    def doing(self, right: Right) -> Principal:
        """The same, reaching only as far as it has this right; Forbidden when that is nowhere."""
        if right in self.stale:
            raise self.unproven(right)
        parts = tuple(part for part in self.parts if right in part.rights)
        if not parts:
            raise Forbidden(f"this takes the right {right.value}, which {self.actor} does not have", right=right.value)
        return replace(self, parts=parts)

    def unproven(self, right: Right) -> Forbidden:
        """Why a right that it has cannot be used now, and what helps."""
        said = f"{right.value} is for a short while after {self.actor} was proven"
        if self.is_key:
            return Forbidden(f"{said}: make a new key", right=right.value)
        return ProofNeeded(f"{said}: give the password again, or sign in again", right=right.value)

    def narrowed(self, scopes: Collection[Right], accounts: frozenset[str] | None) -> Principal:
        """No more than these rights in these accounts (None: wherever it reaches); what a key of the API is given."""
        kept = (_less(part, frozenset(scopes)) for part in self.parts)
        if accounts is not None:
            kept = (
                replace(part, rights=part.rights - HOUSE, reach=part.reach.within(accounts)) for part in tuple(kept)
            )
        return replace(self, parts=tuple(part for part in kept if part.rights and part.reach != Reach()))

    def partner_for(self, account: str) -> str:
        """The partner's account in whose name it acts on a child account; empty where it acts in its own."""
        own = any(part.reach.whole(account) for part in self.parts if not part.through)
        found = [part.through for part in self.parts if part.through and part.reach.whole(account)]
        return "" if own or not found else found[0]


OPERATOR: Final = Principal("administrator", (Part(frozenset(Right), EVERYTHING, Role.OWNER),))
"""The command line on the machine itself: whoever can read the master key can do everything."""
