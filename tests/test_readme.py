"""What the README says is what the package computes."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from reuseprior import paths
from reuseprior.measures import closed_forms
from reuseprior.works.thesis import contexts as chapter4

README = (paths.ROOT / "README.md").read_text(encoding="utf-8")
COLUMNS = ["image_size", "P_G", "P_G_spread", "expected_spread", "entropy", "params"]


def headline_rows() -> dict[str, list[str]]:
    rows = {}
    for line in README.splitlines():
        cells = [c.strip().replace("\\|", "|") for c in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 7 and cells[0].startswith(("V2-", "ResNet")):
            rows[cells[0]] = cells[1:]
    return rows


@pytest.mark.slow
def test_headline_table_is_the_computed_one():
    rows = headline_rows()
    computed = {}
    for name in ("table-4-3", "table-4-4"):
        computed |= chapter4.printed_beside_computed(name)[COLUMNS].T.to_dict("list")
    assert rows.keys() == computed.keys()
    for model, cells in rows.items():
        assert cells == computed[model], model


@pytest.mark.slow
def test_exact_rows_in_the_text():
    exact = chapter4.exact_rows().P_G
    sentence = f"$P_G$ {exact['V2-M, counted at 480 px']} and {exact['V2-L, counted at 480 px']}"
    assert sentence in README


def test_gap_of_theorems_4_and_5():
    gaps = [
        closed_forms.printed_expected_energy_limit(width, 50)
        - closed_forms.expected_energy_limit(width, 50)
        for width in (2, 100)
    ]
    assert f"{gaps[0]:.3f} nats at width 2, {gaps[1]:.3f} at width 100" in README


def test_snippet_runs(capsys):
    (snippet,) = re.findall(r"```python\n(.*?)```", README, re.S)
    exec(compile(snippet, "README.md", "exec"), {})
    shown = capsys.readouterr().out
    assert "1.weight" in shown and "P_G" in shown and "wide" in shown


@pytest.mark.parametrize("target", ["reproduce", "notebooks", "book", "test", "lab"])
def test_commands_exist(target):
    assert f"make {target}" in README
    assert re.search(rf"^{target}:", (paths.ROOT / "Makefile").read_text(), re.M)


def test_links_lead_somewhere():
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert Path(paths.ROOT / link).exists(), link


def test_badges_open_the_landing_page():
    badges = re.findall(r"\[!\[.*?\]\(.*?\)\]\((.*?)\)", README)
    assert {urlsplit(badge).netloc for badge in badges} == {
        "mybinder.org",
        "colab.research.google.com",
    }
    for badge in badges:
        (page,) = re.findall(r"notebooks/\w+\.ipynb", badge)
        assert (paths.ROOT / page).exists()


def test_cites_what_citation_cff_names():
    cited = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    for work in (cited["preferred-citation"], *cited["references"]):
        assert work["title"] in README and str(work["year"]) in README
        assert all(author["family-names"] in README for author in work["authors"])
        assert work.get("doi", "") in README
