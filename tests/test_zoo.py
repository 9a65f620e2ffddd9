"""The recorded survey of models that nobody here wrote: enough of them count, quickly enough."""

import pytest

from reuseprior import paths
from reuseprior.results import METRICS, Run

EXPERTS = """
    mixtral qwen2_moe qwen3_moe olmoe phimoe granitemoe gpt_oss deepseek_v3
""".split()


@pytest.fixture
def family():
    """A function from a family's name to its rows; skips what is not recorded."""

    def rows(name):
        folder = paths.RESULTS / "zoo" / name
        if not (folder / METRICS).exists():
            pytest.skip(f"not recorded yet: {name}")
        run = Run.read(folder)
        assert run.summary["state"] == "finished" and len(run.commits) == 1
        return run.metrics.set_index("model")

    return rows


LEAST = {"transformers": 60 / 66, "torchvision": 1, "timm": 0.995, "timm-all": 0.995}
LEAST |= dict.fromkeys(("graphs", "diffusers", "sequences"), 1)


@pytest.mark.parametrize("name", LEAST)
def test_enough_models_count(family, name):
    assert family(name)["reason"].isna().mean() >= LEAST[name]


def test_mixtures_of_experts_count(family):
    rows = family("transformers")
    assert len(rows) >= 66 and rows.loc[[f"hf:{kind}" for kind in EXPERTS], "reason"].isna().all()


def test_time_and_memory(family):
    for name, least in (("timm", 190), ("timm-all", 1200)):
        rows = family(name)
        assert len(rows) > least
        assert rows["seconds"].max() <= 10 and rows["added_mib"].max() <= 3000
    rows = family("sequences")
    assert rows.loc["torch.nn:LSTM(32, 64), 4000 steps", "seconds"] < 20
    assert rows.loc["hf:llama, 2048 tokens", "seconds"] < 2
