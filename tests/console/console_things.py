"""Something of every kind in the first account, and a system that posts to it: for tests of all pages."""

from __future__ import annotations

import hashlib
import json

from console_house import VVX, House

from provisioner.fleet.jobs import Jobs
from provisioner.hooks.hooks import Hooks
from provisioner.hooks.intake import Intake
from provisioner.hooks.signing import signed
from provisioner.hooks.sources import MadeSource, Sources
from provisioner.http.console import (
    administrators,
    certificates,
    imports,
    inbound,
    inbox,
    jobs,
    keys,
    licenses,
    numbers,
    partners,
    policies,
    refusals,
    sites,
    webhooks,
)
from provisioner.keys_desk import ApiKeys
from provisioner.licensing import LicenseKind
from provisioner.rights import Right, Role
from provisioner.store.refusals import Group, write_refusals
from provisioner.store.uploads import UploadShelf

NOUNS = (
    administrators.administrators, certificates.certificates, imports.imports, inbound.inbound, inbox.inbox, jobs.jobs,
    keys.keys, licenses.licenses, numbers.numbers, partners.partners, policies.policies,
    refusals.refusals, sites.sites, webhooks.webhooks,
)  # fmt: skip
"""The pages of what stands beside phones: accounts, other systems, administrators."""
HOOK_URL = "https://hooks.example.net/in"
RULES = """
id = "$.id"
[[rules]]
action = "extension.assign"
when = { "$.type" = "assign" }
fields = { mac = "$.mac", extension = "$.extension" }
"""


def sources(house: House) -> Sources:
    return Sources(house.means.store, house.means.drivers, house.means.settings, actor="test")


async def posted(house: House, made: MadeSource, **said: str) -> int:
    """The number of a message that the source has posted."""
    means = house.means
    body = json.dumps(said).encode()
    ident = said.get("id", "msg_1")
    intake = Intake(means.store, means.drivers, means.settings, means.clock)
    headers = signed([made.secret], ident, int(means.clock()), body)
    return (await intake.receive(made.about.name, headers, body)).message.id


async def everything(house: House) -> dict[str, str]:
    """What stands in the paths of pages, by the names that the paths have."""
    means, acme, fleet = house.means, house.ids["Acme"], house.fleet
    desk = (means.store, means.drivers, means.settings)
    hook = (await Hooks(*desk, actor="test").add_hook(HOOK_URL, account=acme)).about
    made = await sources(house).add_source("pbx", account=acme, rules=RULES)
    message = await posted(house, made, type="assign", mac="nonsense", extension="1001")
    rows = [b'{"mac":"0004f20000ff"}']
    job = await Jobs(means.store, means.drivers, actor="test").begin_job("removals", rows, account=acme)
    license = (await fleet.add_licenses(LicenseKind.USER, account=acme, count=2))[0]
    (number,) = await fleet.add_numbers(["+49301234567"], account=acme)
    key = await ApiKeys(*desk, actor="test").make_key("reporting", scopes=[Right.DEVICE_READ], accounts=[acme])
    log = b"<html>a log of a phone</html>"
    await UploadShelf(means.store).put(VVX, "app.log", "log", log)
    who = await house.roster.add_administrator("ann@example.net", role=Role.DEVICE_ADMIN, account=acme, name="Ann")
    group = Group("ab" * 8, "untrusted", "CN=Somebody", "its issuer is unknown", 1.0, 2.0, 3, (), models={"": 2.0})
    await write_refusals(means.store, [group], most=9)
    return {
        "refusal": group.id,
        "account": acme, "user": house.ids["Ada"], "extension": house.ids["1001"], "mac": str(VVX), "vendor": "poly",
        "model": "VVX%20411", "scope": "account", "webhook": hook.id, "source": made.about.id, "posted": str(message),
        "job": job.id, "license": license.id, "number": number.id, "key": key.about.id,
        "administrator": who.administrator.id, "rollout": "none", "site": house.ids["Acme HQ"],
        "digest": hashlib.sha256(log).hexdigest(),
    }  # fmt: skip
