"""pyproject.toml is the one place for versions; the files beside it must agree with it."""

import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from reuseprior import __version__, paths

PYPROJECT = tomllib.loads((paths.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ENVIRONMENT = yaml.safe_load((paths.ROOT / "environment.yml").read_text(encoding="utf-8"))
EXTRAS = PYPROJECT["project"]["optional-dependencies"]

# What conda-forge calls the libraries that it names otherwise.
PYPI_NAMES = {"pytorch-cpu": "torch", "matplotlib-base": "matplotlib"}
CONDA_ONLY = {"python", "pip", "make"}


def conda_requirements():
    specs = [Requirement(spec) for spec in ENVIRONMENT["dependencies"] if isinstance(spec, str)]
    return {PYPI_NAMES.get(spec.name, spec.name): spec.specifier for spec in specs}


def core_requirements():
    specs = [Requirement(spec) for spec in PYPROJECT["project"]["dependencies"]]
    return {spec.name: spec.specifier for spec in specs}


def pip_lines():
    (section,) = (entry for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict))
    return section["pip"]


def test_environment_asks_for_the_same_python():
    assert conda_requirements()["python"] == SpecifierSet(PYPROJECT["project"]["requires-python"])


def test_environment_names_only_core_libraries_and_with_the_same_bounds():
    named = {name: spec for name, spec in conda_requirements().items() if name not in CONDA_ONLY}
    core = core_requirements()
    assert named == {name: core.get(name) for name in named}


def test_environment_names_every_library_with_an_upper_bound():
    bounded = {name for name, spec in core_requirements().items() if "<" in str(spec)}
    assert bounded == {"torch", "numpy", "pandas", "matplotlib"}
    assert bounded <= conda_requirements().keys()


def test_environment_installs_this_package_with_extras_that_exist():
    (line,) = pip_lines()
    assert line.startswith("-e .[") and line.endswith("]")
    assert set(line[len("-e .[") : -1].split(",")) <= EXTRAS.keys()


def test_extra_all_holds_every_other_extra():
    (everything,) = map(Requirement, EXTRAS["all"])
    assert everything.name == PYPROJECT["project"]["name"]
    assert everything.extras == EXTRAS.keys() - {"all"}


@pytest.mark.parametrize("extra", ["core", *EXTRAS])
def test_every_requirement_has_a_lower_bound(extra):
    specs = PYPROJECT["project"]["dependencies"] if extra == "core" else EXTRAS[extra]
    for spec in map(Requirement, specs):
        if spec.name != PYPROJECT["project"]["name"]:
            assert any(bound.operator in {">=", "=="} for bound in spec.specifier), str(spec)


def test_version_is_pyprojects():
    assert __version__ == PYPROJECT["project"]["version"]


def test_version_is_read_from_pyproject_when_not_installed(tmp_path):
    (tmp_path / "reuseprior").mkdir()
    shutil.copy(paths.ROOT / "reuseprior" / "__init__.py", tmp_path / "reuseprior")
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "9.8.7"\n', encoding="utf-8")
    code = "import reuseprior; print(reuseprior.__version__)"
    # -S leaves out site-packages, and with it the installed metadata.
    found = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert found.stdout.strip() == "9.8.7"


def test_without_a_checkout_one_sentence_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "PUBLISHED", tmp_path / "data" / "published")
    with pytest.raises(paths.CheckoutMissing, match=r"not a checkout .* set REUSEPRIOR_ROOT"):
        paths.checkout()


def test_the_root_can_be_named(tmp_path):
    code = "from reuseprior import paths; print(paths.FIGURES)"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={"REUSEPRIOR_ROOT": str(tmp_path), "PYTHONPATH": str(paths.ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert found.stdout.strip() == str(tmp_path.resolve() / "figures")
