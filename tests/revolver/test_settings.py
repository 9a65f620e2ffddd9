import tomllib
from dataclasses import fields
from importlib import resources

import pytest

from reuseprior import results
from reuseprior import revolver as rv

FROM_DATA = {"name", "image", "classes"}  # said by the file's name and by the data


def test_searches_from_before_a_setting_had_it_off():
    for run in results.runs("revolver"):
        recorded = dict(run.config["settings"])
        focus = recorded.pop("focus", False)
        settings = rv.Settings.from_data(recorded).to_data()
        assert settings.pop("focus") is False or focus
        assert results.as_read(settings) == recorded


@pytest.mark.parametrize("preset", rv.presets())
def test_a_preset_says_every_value(preset):
    text = (resources.files("reuseprior.revolver") / "presets" / f"{preset}.toml").read_text()
    values = tomllib.loads(text)
    for kind, given in (
        (rv.Settings, values), (rv.Space, values["space"]), (rv.Rates, values["rates"])
    ):  # fmt: skip
        assert set(given) == {field.name for field in fields(kind)} - FROM_DATA
    assert rv.Settings.load(preset) == rv.Settings.from_data(rv.Settings.load(preset).to_data())


def test_values_are_replaced(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('data = "mnist"\n[space]\nwidths = [1]\n')
    settings = rv.Settings.load(file, population=12, **{"space.depths": [10], "rates.toggle": 0.5})
    assert (settings.name, settings.data, settings.population) == ("mine", "mnist", 12)
    assert (settings.space.widths, settings.space.depths) == ((1,), (10,))
    assert settings.rates == rv.Rates(toggle=0.5)


REFUSED = [  # besides what any preset's reader refuses, as in tests/training/test_protocol.py
    ({"populaton": 8}, "unknown key 'populaton', did you mean 'population'"),
    ({"population": 1}, "population is 1: it must be 2 to 10,000"),
    ({"sample": 81}, "sample is 81 and population 80: train at most the whole population"),
    ({"replacements": 80}, "replacements is 80 and population 80: replace fewer"),
    ({"mode": "evolv"}, "mode is 'evolv', did you mean 'evolve'.*: choose from random"),
    ({"rates.mutation": 2}, "rates.mutation is 2: it must be 0 to 1"),
    ({"minimum_learning_rate": 1}, "minimum_learning_rate is 1.0 and learning_rate 0.35: low"),
    ({"maximum_batches": 5}, "maximum_batches is 5 and minimum_batches 96: raise the maximum"),
    ({"space.depths": ["a"]}, r"space.depths is \['a'\]: expected `int`, got `str`"),
    ({"space.kernels": [2]}, "kernels hold 2: give odd sizes"),
    ({"space.blocks": ["risidual"]}, "risidual"),
    ({"space": 3}, r"space in preset 'mnist-evolve' is 3: write a table \[space\]"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_values_that_cannot_be_are_refused_in_one_sentence(changes, message):
    with pytest.raises((rv.SettingsError, rv.SpaceError), match=message) as caught:
        rv.Settings.load("mnist-evolve", **changes)
    assert "\n" not in str(caught.value)
