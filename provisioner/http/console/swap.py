"""A phone that leaves somebody: the swap for another one, its losses shown before; and the wipe of what it was told."""

from __future__ import annotations

from provisioner.errors import Invalid, ProvisionerError
from provisioner.fleet.swap_plan import SwapPlan
from provisioner.http.console.device import about
from provisioner.http.console.pages import Answer, Call, Pages, See, View
from provisioner.model import Mac
from provisioner.rights import Right

swap = Pages()


@swap.get("/devices/{mac}/swap", Right.DEVICE_BIND)
async def ask_swap(call: Call) -> Answer:
    """Which phone comes, and then what goes over and what is lost."""
    given = {name: call.form.typed(name, call.asked(name)).strip() for name in ("new", "vendor", "model")}
    plan: SwapPlan | None = None
    fault: ProvisionerError | None = call.error
    if given["new"]:
        try:
            plan = await call.desks.swaps.plan_swap(
                call.mac, Mac.parse(given["new"]), vendor=given["vendor"], model=given["model"]
            )
        except ProvisionerError as error:
            fault = fault or error
    models = [
        f"{one.vendor}/{one.name}" for each in call.means.drivers.values() for one in each.manifest.models.values()
    ]
    found = await call.desks.fleet.wipe(call.mac)
    values = {"plan": plan, "fault": fault, "given": given, "models": models, "wipe": found}
    return View("device_swap.html.j2", {**await about(call), **values}, status=fault.status if fault else 200)


@swap.post("/devices/{mac}/swap", Right.DEVICE_BIND, again=ask_swap)
async def do_swap(call: Call) -> Answer:
    """Exactly what was shown, or nothing."""
    form = call.form
    if not form.text("plan"):
        raise Invalid("plan", "look at what would be swapped first")
    made = await call.desks.swaps.swap(
        call.mac,
        Mac.parse(form.text("new")),
        plan=form.text("plan"),
        vendor=form.text("vendor"),
        model=form.text("model"),
    )
    numbers = ", ".join(made.exchanged)
    secrets = f" The PBX has to read the new SIP password of {numbers}." if numbers else ""
    said = f"This phone has taken the place of {call.mac.colons}, which is being wiped.{secrets}"
    return See(f"/devices/{made.plan.new}", said)


@swap.get("/devices/{mac}/wipe", Right.DEVICE_WIPE)
async def ask_wipe(call: Call) -> Answer:
    """What it would forget."""
    return View("device_wipe.html.j2", {**await about(call), "wipe": await call.desks.fleet.wipe(call.mac)})


@swap.post("/devices/{mac}/wipe", Right.DEVICE_WIPE, again=ask_wipe)
async def wipe(call: Call) -> Answer:
    """Everything back to what its maker gave."""
    await call.desks.fleet.wipe_device(call.mac, unbind=call.form.flag("unbind"))
    return See(f"/devices/{call.mac}/wipe", "What resets it is what it fetches next.")


@swap.post("/devices/{mac}/wipe/end", Right.DEVICE_WIPE, again=ask_wipe)
async def end_wipe(call: Call) -> Answer:
    """Serve it as any other again."""
    await call.desks.fleet.end_wipe(call.mac)
    return See(f"/devices/{call.mac}", "It is served as any other again.")
