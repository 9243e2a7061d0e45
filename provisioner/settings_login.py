"""Settings of who signs in to the administration, and how; part of Settings."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.knobs import knob
from provisioner.settings_mail import MailSettings


@dataclass(frozen=True, slots=True)
class LoginSettings(MailSettings):
    """``login.*``, ``session.*`` and ``apikey.*``; dataclasses with slots are stacked, not mixed."""

    login_url: str = knob(
        "", "URL", "where administrators reach the console; in mails and links; empty: where the admin edge is bound"
    )
    login_password_least: int = knob(12, "characters", "of a new password; NIST SP 800-63B asks for 8 at least", 8, 64)
    login_hash_memory: int = knob(64, "MiB", "of one argon2id hash: RFC 9106's second recommended option", 8, 1024)
    login_hash_passes: int = knob(3, "passes", "over that memory: the same option", 1, 20)
    login_hash_lanes: int = knob(4, "lanes", "of one hash: the same option", 1, 16)
    login_hash_parallel: int = knob(
        2, "hashes", "at once in a process; with their memory, what signing in takes", 1, 64
    )
    login_tries: int = knob(5, "attempts", "of one login at once; they come back within login.window", 1, 1000)
    login_tries_source: int = knob(
        20, "attempts", "of one address at once: an office behind it mistypes less", 1, 100_000
    )
    login_window: float = knob(900.0, "s", "until all attempts are back", 1, 86_400)
    login_places: int = knob(20, "places", "remembered of one administrator, with attempts of their own", 1, 1000)
    login_link_life: float = knob(3600.0, "s", "of a link to set a password", 60, 604_800)

    login_reveal: float = knob(
        900.0, "s", "after the password was given that secrets can be revealed; then it is asked for again", 30, 604_800
    )
    login_lasting: float = knob(
        900.0, "s", "the same of administrators, roles and keys: who finds a screen unlocked gets no lasting way in",
        30, 604_800,
    )  # fmt: skip

    session_idle: float = knob(1800.0, "s", "an unused session ends; NIST SP 800-63B: 30 min", 60, 86_400)
    session_life: float = knob(43_200.0, "s", "however much it is used: 12 h, a working day", 300, 604_800)
    session_touch: float = knob(60.0, "s", "how often its last use is written down", 1, 600)

    apikey_life: float = knob(365.0, "days", "of a key of the API, where nothing else is said", 1, 3650)
    apikey_reveal: float = knob(24.0, "h", "that a new key may reveal secrets, where its scopes let it", 0, 87_600)
    apikey_flush: float = knob(60.0, "s", "last uses of keys are written in batches", 1, 3600)
