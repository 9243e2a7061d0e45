"""Simulated phones; they share no rendering and no TLS code with the server."""

from provisioner.simulator.boot import boot, boot_now, simulate_boot
from provisioner.simulator.persona import Persona, Sequence, load_persona, make_persona, personas
from provisioner.simulator.phone import Flash, Phone
from provisioner.simulator.reading import Unreadable
from provisioner.simulator.report import BootReport, Outcome, RegisteredLine, Step, as_json, as_text

__all__ = [
    "BootReport",
    "Flash",
    "Outcome",
    "Persona",
    "Phone",
    "RegisteredLine",
    "Sequence",
    "Step",
    "Unreadable",
    "as_json",
    "as_text",
    "boot",
    "boot_now",
    "load_persona",
    "make_persona",
    "personas",
    "simulate_boot",
]
