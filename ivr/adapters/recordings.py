"""Rule: the recordings, for systems that fetch what they play: public, small, kept in memory, and nothing else."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from ivr.prompts import IDS, PromptError, Prompts, languages


class Recordings:
    """``GET <path>/<language>/<prompt>.wav``."""

    def __init__(self, own: Path | None = None, path: str = "/activation/recordings") -> None:
        """``own`` is the operator's folder of prompts."""
        self._own = own
        self._base = path
        self._files: dict[tuple[str, str], bytes] = {}

    name = "recordings"
    calls = 0

    @property
    def path(self) -> str:
        """Above the languages."""
        return self._base

    async def close(self) -> None:
        """Nothing is held."""

    async def handle(self, request: web.BaseRequest, source: str) -> web.Response:
        """A name that is none of ours, or a language without a folder, is looked for nowhere."""
        del source
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, headers={"Allow": "GET, HEAD"})
        language, _, file = request.path.removeprefix(self._base + "/").partition("/")
        body = self._file(language, file.removesuffix(".wav")) if file.endswith(".wav") else None
        if body is None:
            return web.Response(status=404)
        return web.Response(body=body, content_type="audio/wav", headers={"Cache-Control": "public, max-age=3600"})

    def _file(self, language: str, prompt: str) -> bytes | None:
        if prompt not in IDS or language not in languages(self._own):
            return None
        if (language, prompt) not in self._files:
            try:
                self._files[language, prompt] = Prompts(self._own, language).path(prompt).read_bytes()
            except (PromptError, OSError):
                return None
        return self._files[language, prompt]
