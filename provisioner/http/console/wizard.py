"""In a few steps to a person with a phone: person, license, extension, device, MAC or code - saved at the end.

What was typed travels in the form itself. The last step is one transaction: all of it is so, or nothing.
"""

from __future__ import annotations

from typing import Any, Final

from provisioner.activation.codes import Issued
from provisioner.codes import grouped
from provisioner.errors import Invalid, NoLicense, NotFound
from provisioner.http.console.choices import Choices, accounts, model_choices, sites
from provisioner.http.console.pages import Answer, Call, Pages, See, View
from provisioner.licensing import SEATS, AccountPolicy, LicenseKind
from provisioner.mail.text import svg
from provisioner.model import Mac, Model
from provisioner.numbering import NumberState
from provisioner.rights import Right
from provisioner.store.rows import Extension, User
from provisioner.vendor import model_named

wizard = Pages()

STEPS: Final = ("Person", "Extension", "Device", "MAC or code")
_FIELDS: Final = (
    "account", "site", "user", "name", "email", "license", "extension", "number", "phone_number", "display_name",
    "model", "way", "mac", "label", "mail",
)  # fmt: skip
_STEP_OF: Final = {"account": 1, "site": 1, "name": 1, "email": 1, "license": 1, "number": 2, "phone_number": 2,
                   "display_name": 2, "extension": 2, "model": 3, "vendor": 3}  # fmt: skip
"""Where a field that was refused stands; all others stand in the last step."""


@wizard.get("/users/new", Right.PEOPLE_WRITE)
async def begin(call: Call) -> Answer:
    """The first step; the second for somebody who is there already, the third for an extension that is."""
    values = dict.fromkeys(_FIELDS, "")
    if wanted := call.asked("extension"):
        found = await call.desks.search.extension(wanted)
        user = await call.desks.search.user(found.user)
        values |= {"extension": found.id, "number": found.number, "user": user.id, "name": user.name}
        return await _shown(call, 3, values | {"account": found.account})
    if wanted := call.asked("user"):
        user = await call.desks.search.user(wanted)
        return await _shown(call, 2, values | {"user": user.id, "name": user.name, "account": user.account})
    return await _shown(call, 1, values | {"account": call.asked("account")})


def _typed(call: Call) -> dict[str, str]:
    return {name: call.form.text(name) for name in _FIELDS}


async def _shown(call: Call, step: int, values: dict[str, str]) -> View:
    """One step, with what can be chosen there."""
    about: dict[str, Any] = {"step": step, "steps": STEPS, "v": values, "carried": _FIELDS}
    owner = values["account"]
    about["accounts"] = await accounts(call)
    if step == 1:
        owner = owner or (about["accounts"][0][0] if len(about["accounts"]) == 1 else "")
        about |= {
            "sites": await sites(call, owner) if owner else [],
            "seats": await _seats(call, owner),
            "owner": owner,
        }
    if step == 2:
        about["numbers"] = await _numbers(call, owner)
    if step == 3:
        about["models"] = model_choices(call)
    if step == 4:
        model = _model(call, values["model"])
        about |= {"model": model, "way": values["way"] or "mac", "mails": bool(call.means.settings.mail_host)}
        about["may_code"] = model.ivr_activation and call.may(Right.CODE_ISSUE)
    return View("wizard.html.j2", about)


async def _seats(call: Call, account: str) -> Choices:
    """Kinds of licenses of which one is available; with what the account asks for."""
    if not account or not call.may(Right.LICENSE_WRITE):
        return []
    totals = await call.at(Right.LICENSE_WRITE).fleet.license_totals(account)
    found = [(one.kind.value, f"{one.kind.value.replace('_', ' ')} ({one.available} available)") for one in totals
             if one.kind in SEATS and one.available]  # fmt: skip
    return found if (await _policy(call, account)).needs_license else [("", "none"), *found]


async def _policy(call: Call, account: str) -> AccountPolicy:
    if not call.may(Right.POLICY_READ):
        return AccountPolicy(account)
    return await call.at(Right.POLICY_READ).fleet.policy(account)


async def _numbers(call: Call, account: str) -> Choices:
    if not call.may(Right.NUMBER_WRITE):
        return []
    page = await call.at(Right.NUMBER_WRITE).search.number_page(account=account, state=NumberState.AVAILABLE, limit=200)
    return [(one.id, one.number) for one in page.items]


def _model(call: Call, text: str) -> Model:
    vendor, _, name = text.partition("/")
    driver = call.means.drivers.get(vendor)
    found = model_named(driver.manifest, name) if driver else None
    if found is None:
        raise Invalid("model", "choose the model of the phone")
    return found


# --- from step to step ----------------------------------------------------------------------------


async def _again(call: Call) -> Answer:
    """The step in which something is wrong."""
    step = _step(call)
    error = call.error
    if isinstance(error, Invalid):
        step = min(step, _STEP_OF.get(error.field, 4))
    if isinstance(error, NoLicense):
        step = 1 if not call.form.text("user") else step
    return await _shown(call, step, _typed(call))


def _step(call: Call) -> int:
    text = call.form.text("step")
    return int(text) if text in {"1", "2", "3", "4"} else 1


@wizard.post("/users/new", Right.PEOPLE_WRITE, again=_again)
async def proceed(call: Call) -> Answer:
    """Whatever button was pressed."""
    step, values, pressed = _step(call), _typed(call), call.form.text("go")
    if pressed == "back":
        return await _shown(call, max(1, step - 1), values)
    if pressed == "sites":
        return await _shown(call, 1, values)
    if pressed == "suggest":
        hold = await call.desks.fleet.suggest_extension(account=values["account"], site=values["site"])
        return await _shown(call, 2, values | {"number": hold.number})
    await _check(call, step, values)
    if step < len(STEPS) and pressed != "without":
        return await _shown(call, step + 1, values)
    return await _saved(call, values, phone=pressed != "without")


async def _check(call: Call, step: int, values: dict[str, str]) -> None:
    """What can be said before anything is saved."""
    if step == 1:
        _require(values, "account", "choose the account")
        if not values["user"]:
            _require(values, "name", "say who it is, or which place")
        kinds = [value for value, _ in await _seats(call, values["account"])]
        if kinds and values["license"] not in kinds:
            raise Invalid("license", "none of this kind is available")
    if step == 2 and not values["extension"]:
        _require(values, "number", "enter a number, or have one suggested")
        page = await call.desks.search.extension_page(account=values["account"], number=values["number"], limit=1)
        if page.items:
            raise Invalid("number", f"the account has an extension {values['number']} already")
    if step >= 3:
        _model(call, values["model"])


def _require(values: dict[str, str], name: str, why: str) -> None:
    if not values[name]:
        raise Invalid(name, why)


# --- the end --------------------------------------------------------------------------------------


async def _saved(call: Call, values: dict[str, str], *, phone: bool) -> Answer:
    """Everything at once."""
    model = _model(call, values["model"]) if phone else None
    user = await _user(call, values)
    extension = await _extension(call, values, user)
    if model is None:
        return See(f"/users/{user.id}", f"{user.name} has extension {extension.number}, and no phone yet.")
    if values["way"] == "code":
        made = await _code(call, values, model, extension)
        return View("wizard_code.html.j2", {"user": user, "extension": extension, **told_code(made)})
    return await _bound(call, values, model, user, extension)


def told_code(made: Issued) -> dict[str, Any]:
    """A code as it is shown, once."""
    return {"digits": grouped(made.code), "picture": svg(made.code), "about": made.about, "mailed": made.mailed}


async def _user(call: Call, values: dict[str, str]) -> User:
    if values["user"]:
        return await call.desks.search.user(values["user"])
    made = await call.desks.fleet.add_user(values["name"], account=values["account"], email=values["email"])
    if values["license"]:
        kind = LicenseKind(values["license"])
        await call.at(Right.LICENSE_WRITE).fleet.assign_license(made.id, kind=kind)
    return made


async def _extension(call: Call, values: dict[str, str], user: User) -> Extension:
    if values["extension"]:
        return await call.desks.search.extension(values["extension"])
    made = await call.desks.fleet.add_extension(
        values["number"], account=values["account"], user=user.id, display_name=values["display_name"] or user.name
    )
    if values["phone_number"]:
        await call.at(Right.NUMBER_WRITE).fleet.assign_number(values["phone_number"], extension=made.id)
    return made


async def _code(call: Call, values: dict[str, str], model: Model, extension: Extension) -> Issued:
    codes = call.at(Right.CODE_ISSUE).codes
    mail = True if values["mail"] else None
    return await codes.issue(extension.id, account=values["account"], model=model.name, site=values["site"], mail=mail)


async def _bound(call: Call, values: dict[str, str], model: Model, user: User, extension: Extension) -> See:
    mac = Mac.parse(values["mac"])
    _fits(call, mac, model)
    fleet = call.at(Right.DEVICE_BIND).fleet
    try:
        known = await fleet.device(mac)
    except NotFound:
        fleet = call.at(Right.DEVICE_WRITE).fleet
        known = await fleet.add_device(
            mac, vendor=model.vendor, model=model.name, account=values["account"], site=values["site"]
        )
    if known.account != extension.account:
        raise Invalid("mac", "a phone with this MAC belongs elsewhere already")
    if (known.vendor, known.model) != (model.vendor, model.name):
        raise Invalid("mac", f"the phone with this MAC is a {known.model}, not a {model.name}")
    lines = call.at(Right.DEVICE_BIND).lines
    taken = {one.line for one in await lines.bindings(mac, active=True)}
    free = next((number for number in range(1, model.lines + 1) if number not in taken), None)
    if free is None:
        raise Invalid("mac", f"all {model.lines} lines of this phone are taken")
    made = await lines.rebind(mac, free, extension=extension.id, label=values["label"])
    return See(f"/devices/{mac}", f"{user.name} has {extension.number} on line {made.binding.line} of this phone.")


def _fits(call: Call, mac: Mac, model: Model) -> None:
    """Whether a Mac can be one of this vendor's at all, where the vendor's prefixes are known."""
    others = [one.manifest for name, one in call.means.drivers.items() if name != model.vendor]
    own = call.means.drivers[model.vendor].manifest.ouis
    if mac.oui in own:
        return
    if elsewhere := next((one.title for one in others if mac.oui in one.ouis), ""):
        raise Invalid("mac", f"is a MAC of {elsewhere}, and the model is one of {model.vendor}")
