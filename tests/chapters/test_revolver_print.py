"""The printed settings: our presets carry them, and what says otherwise is no run of theirs."""

import pytest

from reuseprior.chapters import revolver_print as work
from reuseprior.report import published
from reuseprior.revolver import Settings
from tests.chapters.printed import falsified

PRESETS = list(published.load("thesis/appendix-c-2").preset)


def changed(*presets):
    """Those of the presets whose own settings are not at the printed protocol any more."""
    found = []
    for preset in presets:
        has, asked = Settings.load(preset).to_data(), work.protocol(preset)["settings"]
        widths = list(asked.pop("space")["widths"])
        same = all(has[key] == value for key, value in asked.items())
        if not same or list(has["space"]["widths"]) != widths:
            found.append(preset)
    return found


def test_the_presets_carry_every_printed_setting():
    assert changed(*PRESETS) == []
    for preset in PRESETS:
        printed, has = work.printed_settings(preset), Settings.load(preset).to_data()
        assert {key: [has[key]] for key in printed} == printed
        assert len(printed) == 18  # 11 of the command line, and 7 of the text that it lacks
    # MNIST's images are not those of the preset
    assert not {"image", "classes"} & work.protocol(preset)["settings"]["space"].keys()


@pytest.mark.slow
@pytest.mark.parametrize("column", work.COMMAND_LINE)
def test_a_falsified_command_line_is_another_search(monkeypatch, column):
    to = {"search_mode": "evolve", "dataset": "DIGITS"}.get(column)
    for preset, other in zip(PRESETS, PRESETS[1:] + PRESETS[:1], strict=True):
        falsified(monkeypatch, "thesis/appendix-c-2", f"thesis-c-2-{preset}", column, to)
        same = column == "search_mode" and Settings.load(preset).mode == to
        assert changed(preset, other) == ([] if same else [preset])


@pytest.mark.slow
@pytest.mark.parametrize("name", [*work.IN_TEXT, *work.WIDTHS])
def test_a_falsified_setting_of_the_text_is_another_search(monkeypatch, name):
    table, part = ("appendix-c-text", "c") if name in work.WIDTHS else ("chapter-3-text", "3")
    falsified(monkeypatch, f"thesis/{table}", f"thesis-{part}-text-{name}", "value")
    whose = (work.FOR | work.WIDTHS).get(name, "")
    assert changed(*PRESETS) == [preset for preset in PRESETS if preset.startswith(whose)]


def test_table_3_2_s_sample_size_is_the_command_line_s(monkeypatch):
    falsified(monkeypatch, "thesis/table-3-2", "thesis-3-2-mnist-evolve", "sample_size")
    assert work.protocol("mnist-evolve")["settings"]["sample"] == [8, 9]
    assert changed("mnist-evolve", "mnist-random") == ["mnist-evolve"]
