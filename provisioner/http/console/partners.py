"""The tree of accounts: partners', those below them, and below those."""

from __future__ import annotations

from collections import defaultdict
from typing import Final, NamedTuple

from provisioner.http.console.pages import Answer, Call, Pages, See, View
from provisioner.rights import Right
from provisioner.store.pages import Key
from provisioner.store.rows import Account

partners = Pages()

_PAGES: Final = 10
"""Pages of 200 accounts that a tree is made of; whoever has more looks for them in the list."""
_ROWS: Final = 200
_HERE: Final = "/accounts/tree"


class Branch(NamedTuple):
    """An account in the tree."""

    account: Account
    depth: int
    parent: Account | None
    """None: below none, or below one that cannot be seen."""
    children: int


@partners.get("/accounts/tree", Right.ACCOUNT_READ)
async def show_tree(call: Call) -> Answer:
    """Below which account each is, as far as both can be seen."""
    found, more = await _accounts(call)
    pairs = sorted(((one.id, one.name) for one in found), key=lambda pair: pair[1].lower())
    reach = call.at(Right.ACCOUNT_WRITE).principal.reach if call.may(Right.ACCOUNT_WRITE) else None
    values = {
        "tree": tree_of(found),
        "more": more,
        "accounts": pairs,
        "parents": [pair for pair in pairs if reach and (reach.accounts is None or pair[0] in reach.parents)],
        "everything": reach is not None and reach.everything,
    }
    return View("partners.html.j2", values)


async def _accounts(call: Call) -> tuple[list[Account], bool]:
    found: list[Account] = []
    after: Key = ()
    for _ in range(_PAGES):
        page = await call.desks.search.account_page(after=after, limit=_ROWS)
        found += page.items
        if page.next is None:
            return found, False
        after = page.next
    return found, True


def tree_of(accounts: list[Account]) -> list[Branch]:
    """In the order of a tree that is read downwards, by name; each account stands in it once."""
    known = {one.id: one for one in accounts}
    below: dict[str, list[Account]] = defaultdict(list)
    for one in sorted(accounts, key=lambda each: each.name.lower(), reverse=True):
        below[one.parent if one.parent in known else ""].append(one)
    found, todo = list[Branch](), [(one, 0) for one in below[""]]
    while todo:
        account, depth = todo.pop()
        children = below[account.id]
        found.append(Branch(account, depth, known.get(account.parent), len(children)))
        todo += [(one, depth + 1) for one in children]
    return found


@partners.post("/accounts/tree", Right.ACCOUNT_WRITE, again=show_tree)
async def add_child(call: Call) -> Answer:
    """A new account below a partner's, or nobody's."""
    fleet, form = call.desks.fleet, call.form
    name, parent = form.text("name"), form.text("parent")
    made = await fleet.add_child(name, parent=parent) if parent else await fleet.add_account(name)
    return See(_HERE, f"{made.name} is added.")


@partners.post("/accounts/tree/move", Right.ACCOUNT_WRITE, again=show_tree)
async def set_parent(call: Call) -> Answer:
    """Below another partner's account from now on, or below none."""
    made = await call.desks.fleet.set_parent(call.form.text("account"), parent=call.form.text("parent"))
    return See(_HERE, f"{made.name} stands elsewhere now.")
