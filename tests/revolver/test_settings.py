import tomllib
from dataclasses import fields
from importlib import resources

import pandas as pd
import pytest

from reuseprior import paths, results
from reuseprior import revolver as rv

PUBLISHED = pd.read_csv(paths.PUBLISHED / "thesis/table-3-2.csv")
FROM_DATA = {"name", "image", "classes"}  # said by the file's name and by the data


def test_there_is_a_preset_for_every_run_of_table_3_2():
    assert set(PUBLISHED.preset) <= set(rv.presets())
    words = {
        "Evolve": "evolve", "Random": "random", "RandWarmup": "random_warmup",
        "RandWarmEvolve": "random_warmup_evolve",
    }  # fmt: skip
    for row in PUBLISHED.itertuples():
        settings = rv.Settings.load(row.preset)
        assert settings.name == row.preset
        assert settings.mode == words[row.mode] and settings.sample == row.sample_size
        assert settings.data == row.dataset.lower().replace("-", "")
        assert settings.batch_size == {"mnist": 512, "cifar10": 128}[settings.data]
        assert settings.generations == (600 if row.preset.endswith("-long") else 160)
        assert (settings.learning_rate, settings.minimum_learning_rate) == (0.35, 0.00085)
        assert (settings.population, settings.warmup_x) == (80, 2)
        assert (settings.warmup_generations, settings.genotype_coefficient) == (30, 32)
        assert settings.warmup == (30 if "warmup" in settings.mode else 0)
        assert settings.focus


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


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"populaton": 8}, "unknown key 'populaton', did you mean 'population'"),
        ({"xyz": 8}, "unknown key 'xyz': the keys are name, data"),
        ({"space.width": [1]}, "unknown key 'width', did you mean 'widths'"),
        ({"rates.togle": 0.1}, "unknown key 'togle', did you mean 'toggle'"),
        ({"population": 1}, "population is 1: it must be 2 to 10,000"),
        ({"sample": 81}, "sample is 81 and population 80: train at most the whole population"),
        ({"replacements": 80}, "replacements is 80 and population 80: replace fewer"),
        ({"mode": "evolv"}, "mode is 'evolv', did you mean 'evolve'.*: choose from random"),
        ({"generations": 1.5}, "generations is 1.5: it must be a whole number"),
        ({"channels_last": 1}, "channels_last is 1: it must be true or false"),
        ({"explore": 1.5}, "explore is 1.5: it must be 0 to 1"),
        ({"rates.mutation": 2}, "rates.mutation is 2: it must be 0 to 1"),
        ({"learning_rate": float("nan")}, "learning_rate is nan: it must be"),
        ({"minimum_learning_rate": 1}, "minimum_learning_rate is 1.0 and learning_rate 0.35: low"),
        ({"maximum_batches": 5}, "maximum_batches is 5 and minimum_batches 96: raise the maximum"),
        ({"space.widths": 3}, r"space.widths is 3: give a value of the kind of \[1, 2\]"),
        ({"space.depths": ["a"]}, r"space.depths is \['a'\]: give a value of the kind of"),
        ({"space.kernels": [2]}, "kernels hold 2: give odd sizes"),
        ({"space.blocks": ["risidual"]}, "risidual"),
        ({"space": 3}, r"space in preset 'mnist-evolve' is 3: write a table \[space\]"),
    ],
)
def test_values_that_cannot_be_are_refused_in_one_sentence(changes, message):
    with pytest.raises((rv.SettingsError, rv.SpaceError), match=message) as caught:
        rv.Settings.load("mnist-evolve", **changes)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(rv.SettingsError, match=r"unknown preset 'mnist-evolv', did you mean"):
        rv.Settings.load("mnist-evolv")
    with pytest.raises(rv.SettingsError, match=r"there is no preset file nothing\.toml: check"):
        rv.Settings.load("nothing.toml")
    file = tmp_path / "torn.toml"
    file.write_text("population = ")
    with pytest.raises(rv.SettingsError, match=r"cannot read .*torn.toml .*: mend the file"):
        rv.Settings.load(file)
