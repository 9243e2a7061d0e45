import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import BadPath
from provisioner.http.paths import clean

TRICKS = [
    "", "/", "//", "*", "http://evil/0004f2000001.cfg", "/../data/master.key", "/a/../b", "/./a", "/a/.", "/%2e%2e/x",
    "/a%00", "/a\x00b", "//0004f2000001.cfg", "/a//b", "/a/", "/a b", "/a\\b", "/" + "a" * 4096, "/é.cfg", "/a;b",
    "/a/b/c/d/e/f/g", "/...", "/a\r\nHost: x", "/<x>", "/0004f2000001.cfg#x", "0004f2000001.cfg",
]  # fmt: skip


@pytest.mark.parametrize("target", TRICKS)
def test_a_trick_is_refused(target):
    with pytest.raises(BadPath):
        clean(target)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/0004f2000001.cfg", "0004f2000001.cfg"),
        ("/0004F2000001-app.log", "0004F2000001-app.log"),
        ("/languages/Website_dictionary_language_en-us.xml", "languages/Website_dictionary_language_en-us.xml"),
        ("/obi/9CADEF100001.xml?v=1&x=..", "obi/9CADEF100001.xml"),
        ("/t/abc/y000000000028.cfg", "t/abc/y000000000028.cfg"),
    ],
)
def test_what_phones_send_is_taken(target, path):
    assert clean(target) == path


@given(st.text())
def test_whatever_comes_is_clean_or_refused(text):
    try:
        path = clean(text)
    except BadPath:
        return
    assert not path.startswith("/")
    assert "//" not in path
    assert all(segment.strip(".") for segment in path.split("/"))
    assert path.isascii()
    assert "%" not in path
