"""Policies: what each account asks for before a phone is somebody's, and how many phones an extension may have."""

from __future__ import annotations

from typing import Final

from provisioner.http.console.pages import ROWS, Answer, Call, Listed, Pages, See, View
from provisioner.http.console.versions import require_version, version_of
from provisioner.licensing import MOST_PHONES, RESERVED, AccountPolicy, CodeMails, CodeNetworks, EmergencyRule, Rotation
from provisioner.rights import Right

policies = Pages()

ROTATIONS: Final = {
    Rotation.MADE.value: "is exchanged where it was made here",
    Rotation.ALL.value: "is always exchanged: the PBX hears of each new one and reads it",
    Rotation.NEVER.value: "stays",
}
EMERGENCIES: Final = {
    EmergencyRule.WARN.value: "is bound, and it is told",
    EmergencyRule.BLOCK.value: "is refused",
}
NETWORKS: Final = {
    CodeNetworks.ANYWHERE.value: "anywhere",
    CodeNetworks.SITE.value: "only where the phone comes from a network of its site",
}
MAILS: Final = {
    CodeMails.HOUSE.value: "as the whole house has it (mail.on_issue)",
    CodeMails.ALL.value: "all of them",
    CodeMails.ASKED.value: "those for which it is asked",
}


@policies.get("/policies", Right.POLICY_READ)
async def list_policies(call: Call) -> Answer:
    """Account by account, a page at a time."""
    desks = call.desks
    page = await desks.search.account_page(after=call.after("policies", str), limit=ROWS, name=call.asked("q", 80))
    found = {one.id: await desks.fleet.policy(one.id) for one in page.items if _whole(call, one.id)}
    values = {"rows": Listed.of(call, "policies", page), "policies": found, "q": call.asked("q", 80),
              "usual": RESERVED}  # fmt: skip
    return View("policies.html.j2", values)


def _whole(call: Call, account: str) -> bool:
    """An account that can only be named shows its policy to nobody."""
    return call.desks.principal.reach.names(account)


@policies.get("/policies/{account}", Right.POLICY_READ)
async def show_policy(call: Call) -> Answer:
    """One account's; for who may change it, as a form."""
    desks = call.desks
    account = await desks.search.account(call.place("account"))
    policy = await desks.fleet.policy(account.id)
    sent = bool(call.form.fields)
    values = {
        "account": account,
        "policy": policy,
        "version": version_of(_said(policy)),
        "needs_license": call.form.flag("needs_license") if sent else policy.needs_license,
        "needs_number": call.form.flag("needs_number") if sent else policy.needs_number,
        "most": MOST_PHONES,
        "rotations": ROTATIONS,
        "emergencies": EMERGENCIES,
        "networks": NETWORKS,
        "mails": MAILS,
    }
    return View("policy.html.j2", values)


def _said(policy: AccountPolicy) -> dict[str, object]:
    return {"license": policy.needs_license, "number": policy.needs_number, "phones": policy.phones,
            "reserved": policy.reserved, "rotation": policy.rotation, "emergency": policy.emergency,
            "networks": policy.networks, "mails": policy.mails}  # fmt: skip


@policies.post("/policies/{account}", Right.POLICY_WRITE, again=show_policy)
async def set_policy(call: Call) -> Answer:
    """It counts from the next bind and code on; phones that are bound go on as they are."""
    desks, form = call.desks, call.form
    account = await desks.search.account(call.place("account"))
    require_version(call, _said(await desks.fleet.policy(account.id)), "policy")
    await desks.fleet.set_policy(
        account.id,
        needs_license=form.flag("needs_license"),
        needs_number=form.flag("needs_number"),
        phones=form.number("phones", 1, MOST_PHONES),
        reserved=form.text("reserved").replace(",", " ").split(),
        rotation=Rotation(form.text("rotation")) if form.text("rotation") in set(Rotation) else None,
        emergency=EmergencyRule(form.text("emergency")) if form.text("emergency") in EMERGENCIES else None,
        networks=CodeNetworks(form.text("networks")) if form.text("networks") in NETWORKS else None,
        mails=CodeMails(form.text("mails")) if form.text("mails") in MAILS else None,
    )
    return See(f"/policies/{account.id}", "Saved. Phones that are bound already go on as they are.")
