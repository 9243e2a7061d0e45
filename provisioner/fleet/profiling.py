"""Use-cases of the profile listener: open it for a while, close it, and look at what phones have shown it."""

from __future__ import annotations

from provisioner.capability import Card
from provisioner.desk import SettingsDesk
from provisioner.errors import Conflict, Invalid
from provisioner.model import Mac
from provisioner.rights import Right
from provisioner.store import cards
from provisioner.store.cards import Window

_ASKS = ("", "digest")


class Profiling(SettingsDesk):
    """Only for who reaches every account: whoever comes to that listener is nobody's."""

    async def profile_window(self) -> Window:
        """Whether it is open, until when, by whom, and where it listens."""
        self._require_all(Right.PROFILE)
        async with self._store.reading() as connection:
            return await cards.read_window(connection)

    async def open_profile(self, minutes: float = 30.0, *, ask: str = "") -> Window:
        """Open it for so long, in the place of what was said before; a running server listens within a second."""
        self._require_all(Right.PROFILE)
        most = self._settings.profile_minutes
        if not 0 < minutes <= most:
            raise Invalid("minutes", f"must be more than 0 and at most {most:g} (profile.minutes)")
        if ask not in _ASKS:
            raise Invalid("ask", "must be digest, or empty")
        if self._settings.profile_port < 0:
            raise Conflict("there is no profile listener: set profile.port, 8449 for one, and restart the server")
        async with self._change() as change:
            until = change.at + minutes * 60
            wanted = Window(opened_at=change.at, until=until, actor=change.actor, ask=ask)
            window = await cards.open_window(change.connection, wanted)
            change.audit("profile_opened", severity="warning", minutes=f"{minutes:g}", ask=ask or "nothing")
        return window

    async def close_profile(self) -> bool:
        """Close it; whether it was open."""
        self._require_all(Right.PROFILE)
        async with self._change() as change:
            was_open = await cards.close_window(change.connection, change.at)
            if was_open:
                change.audit("profile_closed")
        return was_open

    async def capability_cards(self, *, mac: Mac | None = None, address: str = "", limit: int = 100) -> list[Card]:
        """What phones have shown, the one seen last first; of one Mac, proven or only said, or of one address."""
        self._require_all(Right.PROFILE)
        async with self._store.reading() as connection:
            return await cards.list_cards(connection, mac=mac, address=address, limit=limit)
