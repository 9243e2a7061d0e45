"""The caller of a scenario, who hears prompts in the order it says and presses its keys: what every fake is given."""

from __future__ import annotations

from enum import StrEnum

from tests.ivr.scenarios import Scenario, Then, Turn


class End(StrEnum):
    """Why a telephone system has stopped to gather keys."""

    FULL = "full"
    POUND = "pound"
    PAUSE = "pause"
    GONE = "gone"


class Person:
    """Fails where anything else is heard than the scenario has."""

    def __init__(self, scenario: Scenario) -> None:
        self._turns = list(scenario.turns)
        self._turn: Turn | None = None
        self._keys = ""
        self._done = True

    def hears(self, prompts: tuple[str, ...]) -> None:
        """Silence, or what was heard before once more, belongs to the turn that stands."""
        if self._turn is not None and not self._done and not (self._sent and prompts not in ((), self._turn.hears)):
            assert prompts in ((), self._turn.hears)
            return
        assert self._turns, f"nothing more is to be heard, but {prompts}"
        self._turn = self._turns.pop(0)
        assert prompts == self._turn.hears
        self._keys += self._turn.keys
        self._done = False

    def gathered(self, most: int) -> tuple[str, End]:
        """What a system has gathered that ends with "#", a pause, or when it has as many as it wants."""
        digits = ""
        while self._keys and len(digits) < most:
            key, self._keys = self._keys[0], self._keys[1:]
            if key == "#":
                self._pressed()
                return digits, End.POUND
            digits += key
        if digits and len(digits) == most:
            self._pressed()
            return digits, End.FULL
        return digits, self._stopped()

    def pressed(self) -> tuple[str, End]:
        """One key, for a system that tells each."""
        if not self._keys:
            return "", self._stopped()
        key, self._keys = self._keys[0], self._keys[1:]
        self._pressed()
        return key, End.FULL

    @property
    def _sent(self) -> bool:
        """A code was complete without the "#" that is still to be pressed."""
        return self._keys == "#" and self._turn is not None and self._turn.then is Then.WAITS

    def _pressed(self) -> None:
        assert self._turn is not None
        self._done = not self._keys and self._turn.then is Then.WAITS

    def _stopped(self) -> End:
        assert self._turn is not None
        assert self._turn.then in (Then.SILENT, Then.HANGS_UP)
        self._done = True
        return End.GONE if self._turn.then is Then.HANGS_UP else End.PAUSE

    @property
    def next(self) -> Turn | None:
        """What is to be heard next."""
        return self._turns[0] if self._turns else None

    @property
    def left(self) -> bool:
        """Hung up while the last prompt played."""
        return self._turn is not None and self._turn.then is Then.HANGS_UP

    @property
    def content(self) -> bool:
        """All has been heard."""
        return not self._turns
