"""One installation a test module, with four phones in it; the canary secrets are looked for when its tests are over."""

import asyncio

import pytest
from house import OBI, OTHER_VVX, SECRET, T46S, VVX, House


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    built = House.build(tmp_path_factory.mktemp("device"))

    async def fill():
        await built.add(VVX, "poly", "VVX 411", "2001")
        await built.add(OTHER_VVX, "poly", "VVX 411", "2004")
        await built.add(T46S, "yealink", "T46S", "2002")
        await built.add(OBI, "poly", "OBi302", "2003")

    asyncio.run(fill())
    built.start()
    yield built
    built.stop()
    _no_canary_outside_phones(built)


def _no_canary_outside_phones(built):
    """After everything else: the secrets are in no database byte, log, metric or event."""
    for path in built.data.rglob("*"):
        if path.is_file() and path.name != "provisioner.toml":
            assert SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in built.log()


@pytest.fixture(scope="module")
def vvx(house):
    return house.certificate("poly", VVX)


@pytest.fixture(scope="module")
def t46s(house):
    return house.certificate("yealink", T46S)
