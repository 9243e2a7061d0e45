"""The mailbox of refused certificates in the console: whose they are, trusted on the page or said to be expected."""

from __future__ import annotations

from pathlib import Path

import pytest
from console_house import Browser, House

from provisioner import trust
from provisioner.certificates import fingerprint, to_der
from provisioner.pki import make_factory
from provisioner.roles import Role
from provisioner.store.refusals import Group, write_refusals

pytestmark = pytest.mark.asyncio
MAC = "0004f2000001"


def group(ident: str, chain: tuple[bytes, ...] = (), issuer: str = "CN=Demo <Issuing>") -> Group:
    return Group(
        ident, "untrusted", issuer, "its issuer is unknown", 1e9, 2e9, 37, chain, {MAC: 2e9}, {"192.0.2.7": 2e9},
        {"VVX 411": 2e9, "": 1e9},
    )  # fmt: skip


async def test_an_issuer_is_trusted_on_the_page_of_its_group(house: House, owner: Browser, tmp_path: Path) -> None:
    maker = make_factory("poly", tmp_path / "maker")
    leaf, _, above = maker.leaf(MAC)
    chain = (*to_der(leaf), *to_der(above), *to_der(maker.root_pem.read_bytes()))
    await write_refusals(house.means.store, [group("aa", chain)], most=9)
    listed = await owner.get("/certificates/refused")
    assert "CN=Demo <Issuing>" in listed.words and "37" in listed.words and "needs a look" in listed.words
    shown = await owner.get("/certificates/refused/aa")
    assert "compare the fingerprint" in shown.words and "192.0.2.7" in shown.words
    offered = shown.tree.xpath('//form[contains(@action, "/trust")]//input[@name="fingerprint"]')
    marks = [one.get("value") for one in offered]
    assert marks == [fingerprint(der) for der in chain[1:]]
    assert not [one for one in offered if one.get("checked") is not None], "who trusts says himself that he compared"
    for ticked, why in (([], "by another way"), (marks[:1], "came with it, too"), (["ab" * 32], "no longer")):
        answer = await owner.post("/certificates/refused/aa/trust", {"vendor": "poly", "fingerprint": ticked})
        assert why in answer.words
    (chosen,) = shown.tree.xpath('//select[@name="vendor"]/option[@selected]/@value')
    assert chosen == "poly", "whose models came with it"
    done = await owner.post("/certificates/refused/aa/trust", {"vendor": "poly", "fingerprint": marks})
    assert "Trusted for poly" in done.said
    assert set(chain[1:]) <= {ca.der for ca in trust.load(house.means.settings.data).trusted}
    again = await owner.post("/certificates/refused/aa/trust", {"vendor": "poly", "fingerprint": marks})
    assert "trusted already" in again.words


async def test_a_leaf_alone_cannot_be_trusted_and_the_page_says_what_to_get(
    house: House, owner: Browser, tmp_path: Path
) -> None:
    leaf, _, _ = make_factory("poly", tmp_path / "maker").leaf(MAC)
    await write_refusals(house.means.store, [group("bb", to_der(leaf))], most=9)
    shown = await owner.get("/certificates/refused/bb")
    assert "Only the device's own certificate came" in shown.words
    assert not shown.tree.xpath('//form[contains(@action, "/trust")]')
    refused = await owner.post("/certificates/refused/bb/trust", {"vendor": "poly"})
    assert "get the certificate of its issuer" in refused.words


async def test_what_is_expected_leaves_the_list_with_a_note(house: House, owner: Browser) -> None:
    await write_refusals(house.means.store, [group("cc")], most=9)
    empty = await owner.post("/certificates/refused/cc/expect", {"model": ["VVX 411"], "note": " "})
    assert "must not be empty" in empty.oops
    await owner.post("/certificates/refused/cc/expect", {"model": ["VVX 411"], "note": "replaced in May"})
    assert "needs a look" in (await owner.get("/certificates/refused")).words, "who says no model is another matter"
    await owner.post("/certificates/refused/cc/expect", {"note": "nobody knows them"})
    assert "Nothing needs a look" in (await owner.get("/certificates/refused")).words
    everything = await owner.get("/certificates/refused?all=yes")
    assert "CN=Demo <Issuing>" in everything.words
    assert "replaced in May" in (await owner.get("/certificates/refused/cc")).words


async def test_only_who_reaches_the_whole_house_sees_it(house: House) -> None:
    await write_refusals(house.means.store, [group("dd")], most=9)
    technician = await house.browser(await house.add("t@example.net", Role.TECHNICIAN, account=house.ids["Acme"]))
    for path in ("/certificates/refused", "/certificates/refused/dd"):
        assert (await technician.get(path)).status == 403
    assert (await technician.post("/certificates/refused/dd/trust", {"vendor": "poly"})).status == 403
