"""CITATION.cff parses, is of this version, and cites the thesis and the paper."""

import re

import yaml

import reuseprior
from reuseprior import paths

CITATION = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text(encoding="utf-8"))
WORKS = [CITATION["preferred-citation"], *CITATION["references"]]


def work(kind):
    (found,) = (work for work in WORKS if work["type"] == kind)
    return found


def family_names(work):
    return [author["family-names"] for author in work["authors"]]


def test_has_what_the_format_requires():
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["license"] == "MIT"
    assert CITATION["message"] and CITATION["title"] and CITATION["authors"]
    for cited in WORKS:
        assert cited["type"] and cited["title"] and cited["authors"]


def test_version_is_the_packages():
    # str: YAML would read a two-part version as a float
    assert str(CITATION["version"]) == reuseprior.__version__


def test_cites_the_thesis():
    thesis = work("thesis")
    assert thesis["title"] == "The Reusability Prior in Deep Learning Models"
    assert thesis["institution"]["name"] == "Middle East Technical University"
    assert (thesis["year"], thesis["month"]) == (2023, 5)
    assert family_names(thesis) == ["Polat"]


def test_cites_the_paper():
    paper = work("article")
    assert paper["title"].startswith("The reusability prior: comparing deep learning models")
    assert (paper["volume"], paper["start"], paper["year"]) == (4, "025011", 2023)
    assert re.fullmatch(r"10\.1088/2632-2153/\w+", paper["doi"])
    assert family_names(paper) == ["Polat", "Alpaslan"]


def test_cites_the_software_in_this_version():
    software = work("software")
    assert software["title"] == CITATION["title"] and software["license"] == CITATION["license"]
    assert str(software["version"]) == reuseprior.__version__
    assert software["authors"] == CITATION["authors"]
