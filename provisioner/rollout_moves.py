"""The steps of a rollout as changes: its row, the notice to the workers and the audit event in one transaction.

Whoever watches rollouts and whoever administers them both go through here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from provisioner.errors import Conflict
from provisioner.model import ConfigLayer
from provisioner.rollout_states import PARTS, RolloutState, RolloutStep, first_share, part_of
from provisioner.store import people, resync, rollouts
from provisioner.store.database import Change
from provisioner.store.rollouts import AGAIN, Rollout
from provisioner.store.secretbox import SecretBox

_COUNTED: Final = 10_000
"""Phones that are looked at one by one, so that at least one is among the first; of more some are by their number."""


async def begin(
    change: Change, box: SecretBox, former: ConfigLayer, revision: int, phones: int, percent: float
) -> Rollout | None:
    """Let the change reach so many percent of the phones first; None where it can do harm to nobody, or to one at most.

    At 100 percent all get it, and are told in waves.
    """
    scope, key = former.scope, former.key
    before = await rollouts.open_rollout(change.connection, scope, key)
    if before is not None:  # all phones have that one already, else the layer could not have been changed
        await finish(change, before)
    live = await rollouts.live_phones(change.connection, scope, key, _COUNTED + 1)
    if len(live) < 2:
        return None
    parts = [part_of(mac, revision) for mac in live] if len(live) <= _COUNTED else []
    share = first_share(percent, parts)
    one = Rollout(
        people.new_id(), scope, key, revision, RolloutState.TELLING, share, 1, phones, change.actor, change.at,
        change.at, "", "", None,
    )  # fmt: skip
    await rollouts.insert_rollout(change.connection, box, one, former)
    _tell(change, "rollout_begun", one, phones=str(phones), asked=f"{percent:g} %")
    return one


async def told(change: Change, one: Rollout, campaign: str, differ: int) -> None:
    """The phones of its step are asked, in this transaction; so many would get other files."""
    await _moved(change, one, RolloutStep.TOLD, {"campaign": campaign, "differ": differ})


async def again(change: Change, one: Rollout) -> None:
    """All phones of its step are to be asked once more, those that have fetched for somebody else as well."""
    await _moved(change, one, RolloutStep.AGAIN, {"step": one.step + 1, "differ": AGAIN})
    _tell(change, "rollout_asks_again", one)


async def promote(change: Change, one: Rollout, share: int) -> None:
    """More phones get the new value."""
    await _moved(change, one, RolloutStep.PROMOTE, {"share": share, "step": one.step + 1, "why": "", "differ": 0})
    change.touch(one.scope, one.key)
    _tell(change, "rollout_promoted", one, to=f"{share * 100 / PARTS:g} %")


async def halt(change: Change, one: Rollout, why: str, *, alarm: bool) -> None:
    """No further phone is told, or gets the new value."""
    await _moved(change, one, RolloutStep.HALT, {"why": why})
    stopped = 0
    if one.campaign:
        stopped = await resync.stop(change.connection, change.at, campaign=one.campaign)
    _tell(change, "rollout_halted", one, "alarm" if alarm else "warning", reason=why, untold=str(stopped))


async def finish(change: Change, one: Rollout) -> None:
    """All phones get the new value, and nobody is watched any more."""
    await _moved(change, one, RolloutStep.FINISH, {"share": PARTS})
    if one.share < PARTS:
        change.touch(one.scope, one.key)
    _tell(change, "rollout_finished", one)


async def revert(change: Change, one: Rollout) -> None:
    """All phones get the former value again; whoever does this writes the layer."""
    await _moved(change, one, RolloutStep.REVERT, {})
    if one.campaign:
        await resync.stop(change.connection, change.at, campaign=one.campaign)
    _tell(change, "rollout_reverted", one, "warning")


async def _moved(change: Change, one: Rollout, step: RolloutStep, values: Mapping[str, object]) -> None:
    if not await rollouts.move(change.connection, one, step, change.at, values):
        raise Conflict(f"rollout {one.id} is not as it was: it is over, or somebody has moved it on")


def _tell(change: Change, kind: str, one: Rollout, severity: str = "info", **told: str) -> None:
    about = {"rollout": one.id, "revision": str(one.revision), "share": f"{one.percent:g} %", "step": str(one.step)}
    change.audit(kind, severity=severity, scope=one.scope.value, key=one.key, **about, **told)
