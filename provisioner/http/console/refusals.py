"""The mailbox of refused certificates: look at a chain, trust its issuer, or say that it is expected."""

from __future__ import annotations

from provisioner import trust
from provisioner.certificates import CertFacts, Unreadable, issuers_of, read
from provisioner.http.console.pages import Answer, Call, Pages, See, View
from provisioner.rights import Right
from provisioner.store.refusals import Refusal

refusals = Pages()


@refusals.get("/certificates/refused", Right.SERVER_READ)
async def list_refused(call: Call) -> Answer:
    """By issuer and verdict, the one seen last first."""
    everything = bool(call.asked("all", 10))
    found = await call.desks.refusals.refusals(everything=everything)
    return View("refusals.html.j2", {"rows": found, "everything": everything})


@refusals.get("/certificates/refused/{refusal}", Right.SERVER_READ)
async def show_refused(call: Call) -> Answer:
    """Its chain, who came with it, and what was said of it."""
    one = await call.desks.refusals.refusal(call.place("refusal"))
    values = {
        "one": one,
        "chain": [_facts(der) for der in one.chain],
        "issuers": [_facts(der) for der in issuers_of(one.chain[0], one.chain[1:])] if one.chain else [],
        "compared": call.form.many("fingerprint"),
        "vendors": [(name, name) for name in trust.VENDORS],
        "vendor": call.form.typed("vendor", _vendor(call, one)),
        "models": sorted(one.models, key=lambda name: (name in one.silenced, name)),
        "ticked": call.form.many("model"),
    }
    return View("refusal.html.j2", values)


def _facts(der: bytes) -> CertFacts | None:
    try:
        return read(der)
    except Unreadable:
        return None


def _vendor(call: Call, one: Refusal) -> str:
    """Whose models came with it; the first of the list where that says nothing."""
    for name, driver in call.means.drivers.items():
        if one.models.keys() & driver.manifest.models.keys():
            return name
    return trust.VENDORS[0]


@refusals.post("/certificates/refused/{refusal}/trust", Right.TRUST_WRITE, again=show_refused, whole=False)
async def trust_refused(call: Call) -> Answer:
    """The CAs that came with it may vouch for a vendor's devices: those that were on the page, each of them ticked."""
    ident, compared = call.place("refusal"), call.form.many("fingerprint")
    added = await call.desks.refusals.trust_issuer(ident, fingerprints=compared, vendor=call.form.text("vendor"))
    notes = " ".join(dict.fromkeys(note for ca in added for note in ca.notes))
    names = ", ".join(ca.subject for ca in added)
    return See(f"/certificates/refused/{ident}", f"Trusted for {added[0].vendor}: {names}. {notes}".strip())


@refusals.post("/certificates/refused/{refusal}/expect", Right.TRUST_WRITE, again=show_refused)
async def expect_refused(call: Call) -> Answer:
    """Nobody has to look at it any more, as far as these models go; none ticked: all that came."""
    ident, desk = call.place("refusal"), call.desks.refusals
    models, note = call.form.many("model"), call.form.text("note")
    if models:
        await desk.expect_refusals(ident, models=models, note=note)
    else:
        await desk.dismiss_refusal(ident, note=note)
    return See("/certificates/refused", "It is expected, and comes back here when it comes with another model.")
