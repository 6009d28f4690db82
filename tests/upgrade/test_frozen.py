"""What is frozen is the last release that the changelog names."""

from __future__ import annotations

import re
import zipfile

from capacity import __version__
from tests.docs.documents import ROOT
from tests.upgrade import frozen

HEADINGS = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_the_frozen_release_is_the_newest_that_was_released() -> None:
    released = [found[1] for heading in HEADINGS if (found := re.fullmatch(r"(\S+), \d{4}-\d\d-\d\d", heading))]
    assert released[0] == frozen.VERSION, f"{released[0]} was released: `make freeze` puts its wheel into tests/upgrade"


def test_the_wheel_is_what_its_name_says() -> None:
    with zipfile.ZipFile(frozen.WHEEL) as wheel:
        assert f'__version__ = "{frozen.VERSION}"' in wheel.read("capacity/__init__.py").decode()
        assert any(name.endswith("/join.lua") for name in wheel.namelist())


def test_the_newest_heading_is_the_version_of_this_checkout() -> None:
    assert re.fullmatch(rf"{re.escape(__version__)}, (unreleased|\d{{4}}-\d\d-\d\d)", HEADINGS[0])
