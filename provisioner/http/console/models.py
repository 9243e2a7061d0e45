"""Models: what devices may be, and what they can do."""

from __future__ import annotations

from provisioner.errors import NotFound
from provisioner.http.console.pages import Answer, Call, Pages, View
from provisioner.rights import Right
from provisioner.vendor import model_named

models = Pages()


@models.get("/models", Right.MODEL_READ)
async def list_models(call: Call) -> Answer:
    """All of them, by vendor."""
    wanted = call.asked("q", 60).lower()
    drivers = call.means.drivers
    rows = [
        (drivers[name].manifest.title, one)
        for name in sorted(drivers)
        for one in drivers[name].manifest.models.values()
        if wanted in f"{name} {one.name}".lower()
    ]
    return View("models.html.j2", {"rows": rows, "q": wanted})


@models.get("/models/{vendor}/{model}", Right.MODEL_READ)
async def show_model(call: Call) -> Answer:
    """One of them."""
    driver = call.means.drivers.get(call.place("vendor"))
    found = model_named(driver.manifest, call.place("model")) if driver else None
    if driver is None or found is None:
        raise NotFound("there is no such model")
    return View("model.html.j2", {"model": found, "title": driver.manifest.title})
