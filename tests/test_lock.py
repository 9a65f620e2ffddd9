"""requirements.lock pins what `make` installs, in versions that pyproject.toml allows."""

import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from reuseprior import paths

LINES = (paths.ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
PROJECT = tomllib.loads((paths.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MAKEFILE = (paths.ROOT / "Makefile").read_text(encoding="utf-8")


def pinned():
    """The version of each library on this machine."""
    found = [Requirement(line) for line in LINES]
    here = [one for one in found if one.marker is None or one.marker.evaluate()]
    return {canonicalize_name(one.name): str(one.specifier).removeprefix("==") for one in here}


def wanted(extras):
    """The libraries of some extras, and of the extras that these name in turn."""
    for extra in extras:
        for one in map(Requirement, PROJECT["optional-dependencies"][extra]):
            if one.name == PROJECT["name"]:
                yield from wanted(one.extras)
            else:
                yield one


def installed_extras():
    (extras,) = re.findall(r"--editable '\.\[(.*?)\]'", MAKEFILE)
    return extras.split(",")


def test_every_line_pins_one_version_and_names_no_place():
    for line in LINES:
        assert re.fullmatch(r"[a-z0-9.-]+(\[[a-z,]+\])?==[\w.]+( ; .+)?", line), line
        assert "://" not in line


def test_all_that_make_installs_is_pinned_within_its_bounds():
    versions = pinned()
    core = map(Requirement, PROJECT["dependencies"])
    for one in (*core, *wanted(installed_extras())):
        assert one.specifier.contains(versions[canonicalize_name(one.name)]), one


def test_make_lock_pins_the_same_extras():
    compiled = MAKEFILE.partition("uv pip compile")[2].partition("\n\n")[0]
    assert re.findall(r"--extra (\w+)", compiled) == installed_extras()
