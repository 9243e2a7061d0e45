"""`pip install .` into a fresh environment gives a whole program: command, templates, factory CAs, migrations."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def call(*words: str | Path, **options: object) -> str:
    done = subprocess.run(
        [str(one) for one in words], capture_output=True, text=True, timeout=240, check=False, **options
    )  # type: ignore[call-overload]  # cwd
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_an_installed_program_is_whole(tmp_path: Path) -> None:
    """Dependencies are those of this environment, so that nothing is fetched; what is tested is our own wheel."""
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False)
    wheels = tmp_path / "wheels"
    python = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    call(*python, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, ROOT)
    site = next((environment / "lib").glob("python*/site-packages"))
    call(*python, "install", "--no-deps", "--target", site, *wheels.iterdir())
    (site / "dependencies.pth").write_text(next(one for one in sys.path if one.endswith("site-packages")) + "\n")
    program = [environment / "bin" / "python", "-P", "-m", "provisioner", "--data", tmp_path / "data"]
    for package in ("provisioner", "ivr"):
        where = call(*program[:2], "-c", f"import {package}; print({package}.__file__)", cwd=tmp_path)
        assert where.startswith(str(site)), "the checkout must not stand in"
    call(*program, "init", cwd=tmp_path)
    assert len(json.loads(call(*program, "certs", "list", "--json", cwd=tmp_path))) > 8
    assert len(json.loads(call(*program, "device", "models", "--json", cwd=tmp_path))) > 100
    assert {"certs", "templates"} <= {one.name for one in (site / "provisioner").iterdir()}
    assert (site / "bin" / "provisioner").exists()
    _renders(program, tmp_path)


def _renders(program: list[str | Path], tmp_path: Path) -> None:
    call(*program, "account", "add", "Example Ltd", cwd=tmp_path)
    for mac, vendor, model in (("0004f2000001", "poly", "VVX 411"), ("001565000001", "yealink", "T46S")):
        device = ["device", "add", mac, "--vendor", vendor, "--model", model, "--account", "Example Ltd"]
        call(*program, *device, cwd=tmp_path)
        assert len(json.loads(call(*program, "render", mac, "--json", cwd=tmp_path))) >= 2
