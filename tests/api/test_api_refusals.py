"""A CA that came with a refused certificate is trusted by who names its fingerprint, and never with a key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from api_house import House

from provisioner.certificates import fingerprint, to_der
from provisioner.pki import make_factory
from provisioner.rights import OPERATOR
from provisioner.store.refusals import Group, write_refusals


@pytest.mark.asyncio
async def test_a_ca_is_trusted_by_its_fingerprint_and_never_with_a_key(house: House, tmp_path: Path) -> None:
    maker = make_factory("poly", tmp_path / "maker")
    leaf, _, above = maker.leaf("0004f2000001")
    chain = (*to_der(leaf), *to_der(above), *to_der(maker.root_pem.read_bytes()))
    group = Group("aa", "untrusted", "CN=Somebody", "unknown", 1.0, 2.0, 3, chain, models={"VVX 411": 2.0})
    await write_refusals(house.means.store, [group], most=9)
    shown = [one["fingerprint"] for one in (await house.get("/refusals/aa"))["chain"]]
    assert shown == [fingerprint(der) for der in chain]
    house.keeper.known["key"] = replace(OPERATOR, actor="key", is_key=True)
    for body, who, status in (
        ({"vendor": "poly"}, "operator", 422),
        ({"vendor": "poly", "fingerprints": ["ab" * 32]}, "operator", 409),
        ({"vendor": "poly", "fingerprints": shown[1:]}, "key", 403),
        ({"vendor": "poly", "fingerprints": shown[1:]}, "operator", 200),
    ):
        answer = await house.ask("POST", "/refusals/aa/trust", body, who=who, headers={"If-Match": "*"})
        assert answer.status == status, answer.body
    assert [one["fingerprint"] for one in answer.json["items"]] == shown[1:]
