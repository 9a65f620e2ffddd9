"""Language models: scores as published, configurations as released, the recorded counts."""

import pytest

from reuseprior.chapters.beyond import language
from reuseprior.contexts import CountingError, count_contexts
from reuseprior.measures.measuring import Conventions, last_position, measure

pytest.importorskip("transformers")

# Of the sources' own column of averages, which was not typed into the table.
AVERAGES = {
    "Pythia-160M": 40.6, "Pythia-410M": 48.2, "Pythia-1B": 51.9, "Pythia-1.4B": 55.2,
    "Pythia-2.8B": 59.1, "Pythia-6.9B": 61.7, "Mamba-130M": 44.7, "Mamba-1.4B": 59.7,
    "Mamba-2.8B": 63.3, "GPT-Neo-1.3B": 52.4, "GPT-Neo-2.7B": 56.5, "OPT-1.3B": 55.0,
    "OPT-2.7B": 58.7, "OPT-6.7B": 62.9, "GPT-J-6B": 63.0, "BERT base": 82.3, "BERT large": 85.2,
    "ALBERT base": 80.1, "ALBERT large": 82.4, "ALBERT xlarge": 85.5, "ALBERT xxlarge": 88.7,
}  # fmt: skip
# Parameters of the released models, as transformers holds them.
RELEASED = {
    "Pythia-160M": 162_322_944, "Mamba-130M": 129_135_360, "OPT-1.3B": 1_315_758_080,
    "GPT-J-6B": 6_050_882_784, "GPT-Neo-1.3B": 1_315_575_808,
}  # fmt: skip


def test_scores_agree_with_the_sources_own_averages():
    scores = language.published().set_index("model")["score"]
    assert len(scores) == 23
    for model, average in AVERAGES.items():
        assert scores[model] == pytest.approx(average, abs=0.051), model


@pytest.mark.parametrize("model", RELEASED)
def test_configurations_are_those_of_the_released_models(model):
    row = language.published().set_index("model").loc[model]
    network = language.build(row["type"], row["options"])
    assert sum(p.numel() for p in network.parameters()) == RELEASED[model]


def test_the_last_position():
    """One prediction, to which every position of a causal model leads."""
    network = language.build("gpt2", "n_layer=1 n_embd=8 n_head=2 vocab_size=11 n_positions=16")
    counts = count_contexts(network, {"inputs_embeds": (1, 4, 8)}, output=last_position)
    assert (counts.input_nodes, counts.output_nodes) == (32, 11)
    with pytest.raises(CountingError, match="The last position is asked of an output"):
        measure("V2-B0", Conventions(image_size=32, last=True))
