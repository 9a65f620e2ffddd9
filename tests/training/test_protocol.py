import pytest

from reuseprior.training import Protocol, ProtocolError, names

# (what a file says, what the error says)
BAD_FILES = [
    ("epoch = 3", r"mine\.toml has an unknown key 'epoch', did you mean 'epochs'"),
    ("frobnicate = 3", r"unknown key 'frobnicate': the keys are name, epochs"),
    ("epochs = 2.5", r"epochs is 2\.5: it must be a whole number"),
    ("epochs = true", r"epochs is True: it must be a whole number"),
    ("epochs = 0", r"epochs is 0: it must be 1 to 1,000,000,000"),
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
    ("epochs = ", r"cannot read .*mine\.toml \(Invalid value .*\): mend the file"),
    ("epochs = 1" + 400 * "0", r"epochs is 10{46}\.\.\.: it must be 1 to 1,000,000,000, and fin"),
    ("learning_rate = 1" + 400 * "0", r"learning_rate is 10{46}\.\.\.: .* and finite"),
    ("epochs = 1" + 5000 * "0", r"cannot read .*mine\.toml \(Exceeds the limit"),
    ("name = 'a/../../b'", r"name is 'a/\.\./\.\./b': it becomes part of a folder's name"),
    ("name = '..'", r"name is '\.\.': it becomes part of a folder's name, so it must begin with"),
    ("models = 3", r"must hold tables: write \[models\.NAME\]"),
    ("[models.V2-B0]\nepoch = 1", r"^\[models\.efficientnetv2-b0\] in .* unknown key 'epoch'"),
    ("[models.V2-S]\nepoch = 1", r"unknown key 'epoch'"),
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


def test_a_bad_override_and_a_missing_protocol_are_refused():
    for name, changes, message in [
        ("quick", {"epoch": 3}, "what was set has an unknown key 'epoch', did you"),
        ("thesys", {}, r"unknown protocol 'thesys', did you mean 'thesis'\?"),
        ("no/such.toml", {}, r"there is no protocol file no/such\.toml"),
    ]:
        with pytest.raises(ProtocolError, match=message):
            Protocol.load(name, **changes)


def test_the_protocols_of_the_package_load():
    assert names() == [
        "affine-vae", "bidart", "cifar-resnet", "classformer", "cpu", "cpu-hours", "gpu",
        "next-byte", "nn-mass", "nn-mass-paper", "quick", "stores", "thesis",
    ]  # fmt: skip
    assert [Protocol.load(name).name for name in names()] == names()


def test_the_thesis_protocol_is_the_thesis():
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
    path.write_text("momentum = 0\nepochs = 7\n[models.V2-L]\nepochs = 8\nbatch_size = 4\n")
    mine = Protocol.load(path, model="efficientnetv2-l", epochs=9)
    assert mine == Protocol.load(path, model="V2-L", epochs=9)
    assert (mine.name, mine.epochs, mine.batch_size) == ("mine", 9, 4)
    assert mine.momentum == 0.0 and isinstance(mine.momentum, float)
    assert Protocol.load(path).epochs == 7


def test_tables_of_models_from_elsewhere_are_kept_as_they_are_named(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[models.'my_nets:tiny']\nepochs = 8\n")
    assert Protocol.load(path, model="my_nets:tiny").epochs == 8
    assert Protocol.load(path, model="my_nets:small").epochs == Protocol.load(path).epochs == 10


def test_differences_are_what_was_changed():
    quick = Protocol.load("quick")
    assert quick.changed({"epochs": quick.epochs}).differences(quick) == {}
    assert quick.changed({"epochs": 2, "name": "b"}).differences(quick) == {
        "name": "b", "epochs": 2
    }  # fmt: skip
    with pytest.raises(ProtocolError, match="what was set has an unknown key 'model'"):
        quick.changed({"model": "V2-S"})
