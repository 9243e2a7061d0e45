"""Every route with all that its document allows and forbids, about things that are there: no fault, all as promised."""

from __future__ import annotations

import asyncio
import copy
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from api_house import OTHER, T46S, VVX, House, serving

from provisioner.http.api.application import openapi

SECONDS = 40
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,unsupported_method,allow_header_conformance,ignored_auth"
)


def told(house: House) -> dict[str, Any]:
    """The document, with names of what is there where a name is asked for, beside one of what is not."""
    ids = house.ids
    known = {
        "account": ["Acme", ids["Other"], "nowhere"], "site": [ids["Acme site"], "nowhere"],
        "user": ["Ada", ids["Bob"], ids["Eve"], "nowhere"],
        "extension": ["1001", ids["1002"], ids["2001"], "nowhere"],
        "mac": [VVX, T46S, OTHER, "0004f2aaaaaa", "0004f2bbbbbb"],
        "scope": ["account", "site", "device", "vendor", "x"],
        "key": ["Acme", ids["Acme site"], VVX, "poly", "x"], "vendor": ["poly", "yealink", "x"],
        "model": ["VVX 411", "SIP-T46S", "x"], "number": ["+4930123456", "1001", "x"],
    }  # fmt: skip
    document = copy.deepcopy(openapi())
    for methods in document["paths"].values():
        for one in methods.values():
            for parameter in one["parameters"]:
                if parameter["in"] == "path" and (names := known.get(parameter["name"])):
                    parameter["schema"] = {"enum": names}
    for schema in document["components"]["schemas"].values():
        for name, field in schema.get("properties", {}).items():
            if field.get("type") == "string" and "enum" not in field and (names := known.get(name)):
                field["examples"] = names
    return document


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.asyncio
async def test_any_call_is_answered_as_the_document_says(
    furnished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provisioner.http.api.application._STRANGERS_BURST", 1_000_000)
    data = Path(shutil.copytree(furnished, tmp_path / "data"))
    async with serving(data, api_rate=10_000.0, api_burst=1_000_000) as house:
        house.ids = json.loads((data / "ids.json").read_text())
        file = tmp_path / "openapi.json"
        file.write_text(json.dumps(told(house)))
        program = Path(sys.executable).parent / "schemathesis"
        words = [
            str(program), "run", str(file), "--url", house.url, "--header", "Authorization: Bearer operator",
            "--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--max-time", str(SECONDS), "--seed", "1",
            "--exclude-path", "/api/v1/events/stream", "--request-timeout", "20", "--exclude-path",
            "/api/v1/switches",  # it would ask addresses that nobody knows
            "--continue-on-failure", "--warnings",
            "off", "--no-color", "--max-examples", "40", "--suppress-health-check", "all",
        ]  # fmt: skip
        run = await asyncio.create_subprocess_exec(
            *words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=tmp_path
        )
        said, _ = await run.communicate()
    assert run.returncode == 0, said.decode()[-12_000:]
