"""The recorded survey of models that nobody here wrote: enough of them count, quickly enough."""

import pytest

from reuseprior import paths
from reuseprior.results import METRICS, Run

EXPERTS = """
    mixtral qwen2_moe qwen3_moe olmoe phimoe granitemoe gpt_oss deepseek_v3
""".split()


LEAST = {"transformers": 60 / 66, "torchvision": 1, "timm": 0.995, "timm-all": 0.995}
LEAST |= dict.fromkeys(("graphs", "diffusers", "sequences"), 1)
MODELS = {"timm": 191, "timm-all": 1201, "transformers": 66}


@pytest.mark.parametrize("name", LEAST)
def test_enough_models_count_quickly_enough(name):
    folder = paths.RESULTS / "zoo" / name
    if not (folder / METRICS).exists():
        pytest.skip(f"not recorded yet: {name}")
    run = Run.read(folder)
    rows = run.metrics.set_index("model")
    assert run.summary["state"] == "finished" and len(run.commits) == 1
    assert len(rows) >= MODELS.get(name, 1) and rows["reason"].isna().mean() >= LEAST[name]
    if name == "transformers":  # mixtures of experts among them
        assert rows.loc[[f"hf:{kind}" for kind in EXPERTS], "reason"].isna().all()
    if name.startswith("timm"):
        assert rows["seconds"].max() <= 10 and rows["added_mib"].max() <= 3000
    if name == "sequences":
        assert rows.loc["torch.nn:LSTM(32, 64), 4000 steps", "seconds"] < 20
        assert rows.loc["hf:llama, 2048 tokens", "seconds"] < 2
