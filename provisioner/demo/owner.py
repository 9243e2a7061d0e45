"""Somebody who may sign in to the demonstration's console, and the one-time link with which they do."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Final

from provisioner.errors import Conflict
from provisioner.roles import Role
from provisioner.roster import Roster
from provisioner.settings import Settings
from provisioner.store.database import Store

OWNER: Final = "owner@demo.example"


async def owner_link(configured: Settings, url: str) -> str:
    """Make the owner in the first demonstration here, and a link in each; ``url`` is the console's address."""
    here = replace(configured, login_url=url)
    async with Store.of(here) as store:
        roster = Roster(store, {}, here, actor="demo")
        with suppress(Conflict):  # there since an earlier demonstration
            await roster.add_administrator(OWNER, role=Role.OWNER, name="Owner")
        return (await roster.invite(OWNER)).link
