"""Protocols: what a file may say, those of the package, and what follows in a training."""

import pytest
import torch

from reuseprior.training import Protocol, ProtocolError, names
from reuseprior.training.protocol import average_decay, image_size, learning_rate

BAD_FILES = [  # what a file says, what the error says
    ("epoch = 3", r"mine\.toml has an unknown key 'epoch', did you mean 'epochs'"),
    ("frobnicate = 3", r"unknown key 'frobnicate': the keys are name, epochs"),
    ("epochs = 2.5", r"epochs is 2\.5: it must be a whole number"),
    ("momentum = 1.5", r"momentum is 1\.5: it must be 0 to 1"),
    ("learning_rate = nan", r"learning_rate is nan: it must be 0 to 1,000,000, and finite"),
    ("learning_rate = 'high'", r"learning_rate is 'high': it must be a number"),
    ("compile = 1", r"compile is 1: it must be true or false"),
    ("schedule = 'cosin'", r"schedule is 'cosin', did you mean 'cosine'.*: choose from exp"),
    ("schedule = 'steps'", r"schedule is 'steps', step_epochs 0\.0 and step_factor 1\.0: the sch"),
    ("schedule = 'steps'\nstep_epochs = 5", r"step_epochs 5\.0 and step_factor 1\.0: the schedule"),
    ("step_factor = 0.5", "schedule is 'constant', step_epochs 0.0 and step_factor 0.5"),
    ("stages = 4", r"stages is 4, start_image_size 0 and image_size 0: progressive"),
    ("start_image_size = 64\nstages = 2\nimage_size = 32", "start_image_size 64 and image_size 32"),
    ("patience = 2\nema_decay = 0.9", r"patience is 2 and ema_decay 0\.9"),
    ("epochs = ", r"cannot read .*mine\.toml \(Invalid value .*\): mend the file"),
    ("epochs = 1" + 400 * "0", r"epochs is 10{46}\.\.\.: it must be 1 to 1,000,000,000, and fin"),
    ("learning_rate = 1" + 400 * "0", r"learning_rate is 10{46}\.\.\.: .* and finite"),
    ("epochs = 1" + 5000 * "0", r"cannot read .*mine\.toml \(Exceeds the limit"),
    ("name = 'a/../../b'", r"name is 'a/\.\./\.\./b': it becomes part of a folder's name"),
    ("models = 3", r"must hold tables: write \[models\.NAME\]"),
    ("[models.V2-B0]\nepoch = 1", r"^\[models\.efficientnetv2-b0\] in .* unknown key 'epoch'"),
    ("[models.V2-S]\nepochs = 0", r"epochs is 0: it must be 1 to 1,000,000,000"),
    ("[models.V2-Z]\nepochs = 1", r"^\[models\.V2-Z\] in .*: unknown model 'V2-Z', did you mean"),
    ("[models.V2-S]\nepochs = 1\n[models.efficientnetv2-s]\nepochs = 2",
     r"two tables for efficientnetv2-s: write one \[models\.efficientnetv2-s\]"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD_FILES)
def test_a_bad_file_is_refused_by_one_sentence(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ProtocolError, match=message) as caught:
        Protocol.load(path, model="V2-B0")
    assert "\n" not in str(caught.value)
    with pytest.raises(ProtocolError, match="what was set has an unknown key 'epoch', did you"):
        Protocol.load("quick", epoch=3)


def test_the_thesis_protocol_is_the_thesis_and_all_load():
    assert [Protocol.load(name).name for name in names()] == names() and len(names()) == 13
    thesis = Protocol.load("thesis")
    printed = {
        "epochs": 300, "batch_size": 512, "learning_rate": 0.016, "warmup_epochs": 5,
        "schedule": "exponential", "mixup_alpha": 0, "cutmix_alpha": 0, "bn_momentum": 1 - 0.99,
        "augmentation": "none", "stages": 1,
    }  # fmt: skip
    assert {key: getattr(thesis, key) for key in printed} == pytest.approx(printed)
    small = Protocol.load("thesis", model="efficientnetv2-s")
    assert (thesis.image_size, thesis.test_image_size) == (192, 224)
    assert (small.image_size, small.test_image_size) == (300, 384)


def test_overrides_come_last_and_whole_numbers_are_numbers(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        "momentum = 0\nepochs = 7\n[models.V2-L]\nepochs = 8\nbatch_size = 4\n"
        "[models.'my_nets:tiny']\nepochs = 8\n"
    )
    mine = Protocol.load(path, model="efficientnetv2-l", epochs=9)
    assert mine == Protocol.load(path, model="V2-L", epochs=9)
    assert (mine.name, mine.epochs, mine.batch_size) == ("mine", 9, 4)
    assert mine.momentum == 0.0 and isinstance(mine.momentum, float)
    others = (None, "my_nets:tiny", "my_nets:small")  # models from elsewhere keep their names
    assert [Protocol.load(path, model=model).epochs for model in others] == [7, 8, 7]
    assert mine.differences(mine.changed({"epochs": 9})) == {}
    assert mine.changed({"epochs": 2, "name": "b"}).differences(mine) == {"name": "b", "epochs": 2}


# What follows from a protocol in the course of a training -----------------------------------------

WARM = {"learning_rate": 0.016, "batch_size": 512, "warmup_epochs": 5, "epochs": 300,
        "schedule": "exponential"}  # fmt: skip
STEPS = {"learning_rate": 0.8, "batch_size": 32, "epochs": 300, "schedule": "steps",
         "step_epochs": 50, "step_factor": 0.2}  # fmt: skip
PLAIN = {"learning_rate": 0.1, "batch_size": 256, "epochs": 10}
RATES = [  # protocol, learning rates by epoch
    # two falls during the warm-up
    (WARM, {0: 0, 2.5: 0.016, 5: 0.032 * 0.97**2, 7.1: 0.032 * 0.97**2, 7.3: 0.032 * 0.97**3,
            299.9: 0.032 * 0.97**124}),
    (STEPS, {49.99: 0.1, 50: 0.02, 299: 0.1 / 5**5}),
    (PLAIN | {"schedule": "cosine"}, {0: 0.1, 5: 0.05, 10: 0}),
    (PLAIN | {"schedule": "constant", "batch_size": 64}, {9: 0.025}),
    (PLAIN | {"schedule": "linear", "warmup_epochs": 1}, {0: 0, 0.5: 0.05, 1: 0.1, 5.5: 0.05,
                                                          10: 0}),
]  # fmt: skip


@pytest.mark.parametrize(("options", "rates"), RATES)
def test_learning_rates(options, rates):
    found = {epoch: learning_rate(Protocol(**options), epoch) for epoch in rates}
    assert found == pytest.approx(rates, abs=1e-15)


def test_one_cycle_is_torchs():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    # theirs rises until step pct_start · total_steps - 1, which is to be the 30th of 100
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.2, total_steps=101, pct_start=31 / 101
    )
    protocol = Protocol(schedule="one_cycle", learning_rate=0.4, batch_size=128, epochs=10)
    for step in range(101):
        assert learning_rate(protocol, step / 10) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


def test_images_grow_from_stage_to_stage_and_the_average_forgets_the_first_weights_soon():
    progressive = Protocol(epochs=8, start_image_size=128, image_size=300, stages=4)
    sizes = [128, 128, 185, 185, 242, 242, 300, 300]
    assert [image_size(progressive, e) for e in range(8)] == sizes
    assert image_size(Protocol(image_size=96), 3) == 96
    protocol = Protocol(ema_decay=0.9999)
    assert [average_decay(protocol, t) for t in (0, 90, 10**6)] == [0.1, 0.91, 0.9999]
