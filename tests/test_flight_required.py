"""A boot's ordinary 404s are no trouble, whatever the model; a phone that gets no configuration is in trouble."""

from __future__ import annotations

import pytest

from provisioner.errors import NoSuchFile
from provisioner.flight_draft import label_of
from provisioner.flight_notes import Asked, FlightNotes
from provisioner.layers import resolve
from provisioner.model import BootView, Device, DeviceState, ListenerKind, Mac, Model
from provisioner.vendor import VendorDriver
from provisioner.vendors import drivers

KNOWN = drivers()
MODELS = [(driver, model) for driver in KNOWN for model in driver.manifest.models.values()]
MAC = Mac("0004f2aabb01")


def label(driver: VendorDriver, asking: Model, added: Model) -> str:
    """What the boot of a phone comes to that was added as some model of its vendor."""
    notes = FlightNotes(100.0, ("192.0.2.7", 1000), ListenerKind.DEVICE)
    notes.view = BootView(Device(MAC, added.vendor, added.name, DeviceState.ASSIGNED, "acme"), served=3, changed=3)
    config = resolve(MAC, added, (), ({}, {}), base_url="https://p.example/")
    words = {"mac": MAC, "MAC": MAC.upper(), "code": asking.code, "part": asking.part_number}
    for name in driver.manifest.files[asking.dialect]:
        file = driver.match(name.format_map(words), "")
        reason = ""
        try:
            if file is None or file.kind.value in {"firmware", "log"}:
                raise NoSuchFile(name)
            driver.render(file, config)
        except NoSuchFile:
            reason = "no_such_file"
        status = 404 if reason else 200
        notes.ask(Asked(100.0, "GET", f"/{name}", file, status, 0, "", reason, "", 0.0, 0))
    assert notes.asked
    return label_of(notes)


def test_the_boot_of_every_model_is_well_with_all_its_404s() -> None:
    found = {model.name: label(driver, model, model) for driver, model in MODELS}
    assert {name: said for name, said in found.items() if said != "ok"} == {}
    assert len(found) > 50


@pytest.mark.parametrize(
    ("asking", "added"),
    [("VVX 411", "OBi302"), ("OBi302", "VVX 411")],
)
def test_a_phone_that_was_added_as_something_that_has_none_of_its_files_is_in_trouble(asking: str, added: str) -> None:
    driver = next(one for one in KNOWN if asking in one.manifest.models)
    models = driver.manifest.models
    assert label(driver, models[asking], models[added]) == "no_such_file"
