"""Poly: every neutral setting does something, every parameter has a source, operators may add to templates."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from poly_phone import MAC, MODELS, OTHER, body, config, line, maximal, told

from provisioner import neutral
from provisioner.errors import ProvisionerError, RenderFailed
from provisioner.model import Model, ResolvedConfig
from provisioner.rendering import Templates
from provisioner.shipped import shipped
from provisioner.vendors.poly import Poly, sections

HERE = Path(__file__).parent

# --- every neutral setting ---------------------------------------------------------------------

NEEDS = {
    "net.dot1x.identity": {"net.dot1x.mode": "peap"},
    "net.dot1x.password": {"net.dot1x.mode": "peap"},
    "syslog.level": {"syslog.server": "h"},
    "hotline.delay": {"hotline.number": "9000"},
    "sip.dtmf": {},
}
FAMILIES = {model.family: model for model in MODELS.values()}


def everything(resolved: ResolvedConfig) -> list[bytes]:
    names = (f"{MAC}.xml",) if resolved.model.dialect == "obi" else (f"{MAC}-user.cfg", "000000000000.cfg")
    return [body(name, resolved) for name in names]


def test_the_list_of_other_values_is_whole() -> None:
    assert OTHER.keys() == neutral.SETTINGS.keys()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("setting", OTHER)
def test_every_setting_changes_a_file_or_is_refused(family: str, setting: str) -> None:
    model = FAMILIES[family]
    needs = NEEDS.get(setting, {})
    before = everything(config(model.name, line(), values=needs))
    after = everything(config(model.name, line(), values={**needs, setting: OTHER[setting]}))
    assert (before == after) is (setting in model.refuses or neutral.SETTINGS[setting].policy)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("setting", [one.name for one in neutral.SETTINGS.values() if one.per_line])
def test_every_line_setting_changes_one_line_or_is_refused(family: str, setting: str) -> None:
    model = FAMILIES[family]
    before = everything(config(model.name, line()))
    after = everything(config(model.name, line(), values={f"line.1.{setting}": OTHER[setting]}))
    assert (before == after) is (f"line.{setting}" in model.refuses)


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda one: one.name)
def test_every_model_is_told_who_it_is(model: Model) -> None:
    lines = [line(number) for number in range(1, model.lines + 1)]
    found = told(config(model.name, *lines, values=maximal()))
    users = [value for name, value in found.items() if name.endswith(("auth.userId", "AuthUserName"))]
    assert users == [one.auth_user for one in lines]


# --- where each parameter name comes from ------------------------------------------------------

KNOWN = frozenset((HERE / "known" / "poly.txt").read_text(encoding="utf-8").split())
OWN: Mapping[str, str] = tomllib.loads((HERE / "known" / "poly-own.toml").read_text(encoding="utf-8"))
_NUMBER = re.compile(r"(?<=\.)[0-9]+(?=\.|$)")


def emitted() -> Iterator[str]:
    for model in MODELS.values():
        lines = [line(number) for number in range(1, model.lines + 1)]
        different: dict[str, object] = {"line.1.sip.srtp": "off", "poll.enabled": True}
        for name in told(config(model.name, *lines, values=maximal() | different)):
            yield _NUMBER.sub("N", name)


def test_every_emitted_parameter_is_known_or_carries_its_source() -> None:
    assert sorted(set(emitted()) - KNOWN - OWN.keys()) == []


def test_no_source_is_given_for_what_is_known_or_never_emitted() -> None:
    assert sorted(OWN.keys() - set(emitted())) == []
    assert sorted(OWN.keys() & KNOWN) == []
    assert all(len(source) > 10 for source in OWN.values())


def test_errors_name_no_secret() -> None:
    with pytest.raises(ProvisionerError) as caught:
        told(config("VVX 450", line(secret="CANARY\n")))
    assert "CANARY" not in str(caught.value)


# --- an operator's template --------------------------------------------------------------------


def operator(tmp_path: Path, text: str) -> Poly:
    (tmp_path / "ucs").mkdir()
    (tmp_path / "ucs" / "device.cfg.j2").write_text(text, encoding="utf-8")
    return Poly(Templates([tmp_path, shipped("templates") / "poly"]))


LOOP = "{% for section in sections %}<{{ section }}/>{% endfor %}"


def with_template(tmp_path: Path, text: str) -> dict[str, str]:
    driver = operator(tmp_path, text)
    file = driver.match(f"{MAC}-user.cfg", "")
    assert file is not None
    return sections.read(driver.render(file, config("VVX 450", line())))


def test_a_template_may_add_parameters(tmp_path: Path) -> None:
    found = with_template(tmp_path, f'<phone><mine bg.color="2"/>{LOOP}</phone>')
    assert found["bg.color"] == "2"
    assert found["reg.1.address"] == "2001"


def test_what_a_template_says_after_the_sections_loses(tmp_path: Path) -> None:
    found = with_template(tmp_path, f'<phone>{LOOP}<mine reg.1.address="x"/></phone>')
    assert found["reg.1.address"] == "2001"


@pytest.mark.parametrize(
    "text",
    [
        f'<phone><mine reg.1.address="x"/>{LOOP}</phone>',
        "<phone/>",
        f"<phone>{LOOP}{LOOP}</phone>",
        f"<phone><!-- {LOOP} --></phone>",
        f"<phone><![CDATA[{LOOP}]]></phone>",
        f"<phone>{LOOP}",
        "<phone>{% for section in sections %}<{{ section }} a='1'/>{% endfor %}</phone>",
        f"<phone>{LOOP}{{{{ nothing }}}}</phone>",
        f"<phone>{LOOP}{{% if %}}</phone>",
    ],
)
def test_a_template_that_loses_or_overrides_a_section_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(RenderFailed):
        with_template(tmp_path, text)


def test_a_broken_obi_template_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "obi").mkdir()
    (tmp_path / "obi" / "device.xml.j2").write_text("<ParameterList/>", encoding="utf-8")
    driver = Poly(Templates([tmp_path, shipped("templates") / "poly"]))
    file = driver.match(f"{MAC}.xml", "")
    assert file is not None
    with pytest.raises(RenderFailed):
        driver.render(file, config("OBi302", line()))
