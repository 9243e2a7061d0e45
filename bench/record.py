"""What every result holds beside its figures: command, date, machine and versions, so that it can be judged later."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sysconfig
import time
from collections.abc import Mapping
from pathlib import Path

import aiohttp
from OpenSSL import SSL

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, object]:
    """CPU, cores, kernel, and how busy it was already when the benchmark began."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return {
        "cpu": next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown"),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "load_at_start": _LOAD,
    }


_LOAD = [round(one, 2) for one in os.getloadavg()]


def versions(*, nginx: bool = False) -> dict[str, object]:
    """What was measured with. A Python built without profile-guided optimisation is a fifth slower: it is told."""
    options = str(sysconfig.get_config_var("CONFIG_ARGS"))
    found: dict[str, object] = {
        "python": platform.python_version(),
        "python_optimized": "--enable-optimizations" in options,
        "openssl": SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode(),
        "aiohttp": aiohttp.__version__,
    }
    if nginx:
        shown = subprocess.run(["nginx", "-V"], capture_output=True, text=True, check=True).stderr.splitlines()
        found["nginx"] = shown[0].partition(": ")[2]
        found["nginx_openssl"] = next(line for line in shown if "OpenSSL" in line)
    return found


def keep(name: str, command: str, figures: Mapping[str, object], directory: Path | None = None, **more: object) -> Path:
    """Write ``<date>-<name>.json`` and say where."""
    day = time.strftime("%Y-%m-%d", time.gmtime())
    directory = directory or RESULTS
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{day}-{name}.json"
    document = {"command": command, "date": day, "machine": machine(), "versions": more.pop("versions", versions())}
    path.write_text(json.dumps({**document, **more, **figures}, indent=1, ensure_ascii=False) + "\n")
    print(f"kept in {path}")
    return path
