"""pyproject.toml is the one place for versions, and the files beside it agree with it."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import reuseprior as rp
from reuseprior import contexts, paths, sharing
from reuseprior.report import ledger


def read_text(name):
    return (paths.ROOT / name).read_text(encoding="utf-8")


def read(name):
    text = read_text(name)
    return yaml.safe_load(text) if Path(name).suffix in (".yml", ".cff") else text


PROJECT = tomllib.loads(read("pyproject.toml"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
CORE = {one.name: one.specifier for one in map(Requirement, PROJECT["dependencies"])}
CITATION, MAKEFILE, LOCK = map(read, ("CITATION.cff", "Makefile", "requirements.lock"))
WORKFLOWS = sorted((paths.ROOT / ".github" / "workflows").glob("*.yml"))


def test_environment_names_every_library_with_an_upper_bound_and_with_the_same_bounds():
    *named, section = read("environment.yml")["dependencies"]
    pypi = {"pytorch-cpu": "torch", "matplotlib-base": "matplotlib"}  # by conda-forge's names
    specs = {pypi.get(one.name, one.name): one.specifier for one in map(Requirement, named)}
    assert specs.pop("python") == SpecifierSet(PROJECT["requires-python"])
    specs = {name: spec for name, spec in specs.items() if name not in ("pip", "make")}
    assert specs == {name: CORE.get(name) for name in specs}
    bounded = {name for name, spec in CORE.items() if "<" in str(spec)}
    assert bounded == {"torch", "numpy", "pandas", "matplotlib"} and bounded <= specs.keys()
    (line,) = section["pip"]
    assert set(re.fullmatch(r"-e \.\[(.*)\]", line)[1].split(",")) <= EXTRAS.keys()


def test_extra_all_holds_every_other_extra_and_every_requirement_has_a_lower_bound():
    (everything,) = map(Requirement, EXTRAS["all"])
    assert everything.name == PROJECT["name"] and everything.extras == EXTRAS.keys() - {"all"}
    for one in map(Requirement, chain(PROJECT["dependencies"], *EXTRAS.values())):
        bounds = {bound.operator for bound in one.specifier}
        assert one.name == PROJECT["name"] or bounds & {">=", "=="}, str(one)


def test_all_that_make_installs_is_pinned_within_its_bounds():
    def wanted(extras):
        """The libraries of some extras, and of the extras that these name in turn."""
        for one in (one for extra in extras for one in map(Requirement, EXTRAS[extra])):
            yield from wanted(one.extras) if one.name == PROJECT["name"] else [one]

    lines = []
    for line in LOCK.replace(" \\\n    --hash", " --hash").splitlines():
        # pins one version and its files, and names no place
        one = r"([a-z0-9.-]+(?:\[[a-z,]+\])?==[\w.]+(?: ; .+?)?)(?: --hash=sha256:[0-9a-f]{64})+"
        found = re.fullmatch(one, line)
        assert found, line
        lines.append(found[1])
    here = [one for one in map(Requirement, lines) if not one.marker or one.marker.evaluate()]
    pinned = {canonicalize_name(o.name): str(o.specifier).removeprefix("==") for o in here}
    extras = re.findall(r"--editable '\.\[(.*?)\]'", MAKEFILE)[0].split(",")
    for one in (*map(Requirement, PROJECT["dependencies"]), *wanted(extras)):
        assert one.specifier.contains(pinned[canonicalize_name(one.name)]), one
    compiled = MAKEFILE.partition("uv pip compile")[2].partition("\n\n")[0]
    assert re.findall(r"--extra (\w+)", compiled) == extras
    # what builds it is hashed too
    assert "setuptools" in pinned and "--generate-hashes" in compiled


def test_ci_installs_from_the_lock_with_its_hashes():
    """And the soak the newest versions that match."""
    locked = {path.stem: read(path).get("env", {}).get("LOCKED") for path in WORKFLOWS}
    assert locked == {"book": "1", "soak": None, "test": "1"}
    for lock, hashed in (("1", True), ("", False)):
        command = ["make", "--dry-run", "--always-make", "book", f"LOCKED={lock}"]
        told = subprocess.check_output(command, cwd=paths.ROOT, text=True)
        (line,) = (line for line in told.splitlines() if " pip install " in line)
        wanted = ["--require-hashes --requirement requirements.lock &&", "--no-deps --no-build-is"]
        assert [text in line for text in wanted] == [hashed] * 2
        assert ("'.[notebooks,book,test]'" in line) is not hashed


def python(*arguments, **options):
    """What Python prints in a process of its own."""
    return subprocess.check_output([sys.executable, *arguments], text=True, **options)


def test_version(tmp_path):
    """Also of the citation; read from pyproject.toml where none is installed."""
    (software,) = (work for work in CITATION["references"] if work["type"] == "software")
    given = {str(one["version"]) for one in (PROJECT, CITATION, software)}
    assert given == {rp.__version__} and software["authors"] == CITATION["authors"]
    (tmp_path / "reuseprior").mkdir()
    shutil.copy(paths.ROOT / "reuseprior" / "__init__.py", tmp_path / "reuseprior")
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "9.8.7"\n', encoding="utf-8")
    # -S leaves out site-packages, and with it the installed metadata
    found = python("-S", "-c", "import reuseprior; print(reuseprior.__version__)", cwd=tmp_path)
    assert found.strip() == "9.8.7"


def test_ten_names_are_loaded_when_they_are_asked_for():
    assert len(rp.__all__) == len(set(rp.__all__)) == 10 and set(rp.__all__) <= set(dir(rp))
    assert all(getattr(rp, name) is not None for name in rp.__all__)
    assert rp.count_contexts is contexts.count_contexts and rp.sharing is sharing
    with pytest.raises(AttributeError, match="has no attribute 'cont_contexts'"):
        rp.cont_contexts  # noqa: B018


def test_a_clone_in_the_folder_at_hand_stands_in_for_nothing(tmp_path):
    """As an installation is a path and no finder: Python looks for packages along all paths."""
    (tmp_path / "reuseprior" / "reuseprior").mkdir(parents=True)
    (tmp_path / "reuseprior" / "reuseprior" / "__init__.py").touch()
    (tmp_path / "mine.py").write_text("from reuseprior import paths; print(paths.PACKAGE)")
    path = os.environ | {"PYTHONPATH": str(paths.ROOT)}
    for command in (["mine.py"], ["-c", "import mine"], ["-m", "mine"]):
        assert python(*command, cwd=tmp_path, env=path).strip() == str(paths.PACKAGE)
    assert rp.__version__ in python("-m", "reuseprior", "--version", cwd=tmp_path, env=path)
    setup = tomllib.loads(read("pyproject.toml"))["tool"]["setuptools"]
    assert setup["package-dir"] == {"": "."}


def test_the_root_can_be_named(tmp_path, monkeypatch):
    code = "from reuseprior import paths; print(paths.FIGURES)"
    named = {"REUSEPRIOR_ROOT": str(tmp_path), "PYTHONPATH": str(paths.ROOT)}
    assert python("-c", code, env=named).strip() == str(tmp_path.resolve() / "figures")
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "PUBLISHED", tmp_path / "data" / "published")
    with pytest.raises(paths.CheckoutMissing, match=r"not a checkout .* set REUSEPRIOR_ROOT"):
        paths.checkout()


SCHEMA = ["check-jsonschema", "--builtin-schema"]
LINTS = {  # with what is linted; actionlint's wheel is built from a download
    "workflows": [*SCHEMA, "vendor.github-workflows", *WORKFLOWS],
    "citation": [*SCHEMA, "vendor.citation-file-format", paths.ROOT / "CITATION.cff"],
    "container": ["hadolint", paths.ROOT / "Dockerfile"],
    "actions": ["actionlint", "-no-color", "-shellcheck=", "-pyflakes=", *WORKFLOWS],
}


@pytest.mark.slow
@pytest.mark.parametrize("lint", LINTS)
def test_linters_have_nothing_to_say(lint):
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command, *arguments = LINTS[lint]
    if not (found := shutil.which(command, path=places)):
        pytest.skip(f"{command} is not installed")
    done = subprocess.run([found, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_archives_read_what_is_cited():
    """With what Zenodo, CodeMeta and CODECHECK refuse to do without."""
    made = runpy.run_path(str(paths.ROOT / "docs" / "metadata.py"))["files"]()
    assert made == {name: read_text(name) for name in made}, "run python docs/metadata.py"
    zenodo, codemeta = (json.loads(made[name]) for name in (".zenodo.json", "codemeta.json"))
    assert {"title", "upload_type", "description", "creators", "license"} <= zenodo.keys()
    assert {"@context", "@type", "name", "author", "license", "version"} <= codemeta.keys()
    codecheck = yaml.safe_load(made["codecheck.yml"])
    assert {"version", "paper", "manifest"} <= codecheck.keys() and codecheck["paper"]["authors"]
    listed = {one["file"]: one["comment"].split()[1] for one in codecheck["manifest"]}
    drawn = {f"figures/{path.name}" for path in paths.FIGURES.glob("*.svg")}
    assert listed.pop("data/ledger.csv") == "audit:" and listed.keys() == drawn
    assert set(listed.values()) == {"reproduce"}


def test_readers_on_github_come_to_the_lines_in_two_clicks():
    """From the README to a page, and from there to the line that begins what makes a number."""
    page = paths.ROOT / "data" / "lines.md"
    assert "](data/lines.md)" in read_text("README.md")
    links = re.findall(r"\[([^\]]+)\]\(([^)#]+)#L(\d+)\)", page.read_text(encoding="utf-8"))
    mend = "it moved: run python docs/metadata.py"
    for name, file, line in links:
        code = (page.parent / file).read_text(encoding="utf-8").splitlines()[int(line) - 1]
        begins = r'"?\S.*"? = \[' if file.endswith(".toml") else rf"def {name}\("
        assert re.match(begins, code.strip()), f"{file}:{line} is no line of {name}; {mend}"
    linked = {file for _, file, _ in links}
    modules = {f"../reuseprior/chapters/{name}" for name in ("counting.py", "theorems.py")}
    assert modules < linked and len(links) > 100


@pytest.mark.slow
def test_the_functions_that_the_page_names_are_those_that_run():
    """Of places that take a moment: what the code enters to compute their numbers."""
    entered = set()
    for place in ("thesis, appendix A.3", "npas, table 4"):
        sys.setprofile(lambda frame, event, _: entered.add(frame.f_code.co_name))
        try:
            ledger.collect(only=[place])
        finally:
            sys.setprofile(None)
        rows = [r for r in read_text("data/lines.md").splitlines() if r.startswith(f"| {place}")]
        names = re.findall(r"\[(\w+)\]", " ".join(rows))
        assert names and entered.issuperset(names), place


def test_the_container_runs_a_command_of_the_readme_with_locked_versions():
    container, readme = read_text("Dockerfile"), read_text("README.md")
    (command,) = re.findall(r'^CMD \["(\w+)", "(\w+)"\]$', container, re.M)
    assert re.search(rf"^{' '.join(command)}\b", readme, re.M)
    stamp = re.search(r"^STAMP := \$\(VENV\)/(\S+?)\$\(if \$\(LOCKED\),(\S+)\)$", MAKEFILE, re.M)
    assert f"make .venv/{stamp[1]}{stamp[2]}\n" in container and "ENV LOCKED=1" in container
    (version,) = re.findall(r"^FROM python:([\d.]+)", container, re.M)
    assert f"--python-version {version}" in MAKEFILE, "the versions are locked for it"


def test_workflows_run_targets_that_exist():
    assert [path.stem for path in WORKFLOWS] == ["book", "soak", "test"]
    jobs = [job for path in WORKFLOWS for job in read(path)["jobs"].values()]
    commands = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    targets = re.findall(r"^make (\w+)$", "\n".join(commands), re.M)
    assert set(targets) == {"check", "book", "soak"}
    assert all(re.search(rf"^{target}:", MAKEFILE, re.M) for target in targets)
    assert "bash .ci/run" in commands and (paths.ROOT / ".ci" / "run").is_file()
