"""Tied models go to disk and come back, with their ties and their batch-norm statistics."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from reuseprior import sharing
from reuseprior.models import efficientnet_v2, without_weights
from reuseprior.sharing import CheckpointError, load, save, tie, untie


def narrow(seed=0):
    torch.manual_seed(seed)
    return efficientnet_v2("b0", num_classes=10, width=0.25)


def small(channels=2, tied=True):
    model = nn.Sequential(*(nn.Conv2d(channels, channels, 3) for _ in range(3)))
    if tied:
        tie(model)
    return model


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("policy", [sharing.none, sharing.all_but_bn])
def test_round_trip(tmp_path, policy, layout):
    model, other = narrow(0).to(memory_format=layout), narrow(1)
    scopes = tie(model, policy)
    tie(other, policy)
    model(torch.randn(4, 3, 32, 32))  # moves the running statistics
    save(model, tmp_path / "m.safetensors", {"epoch": "3", "note": "naïve"})
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]
    identities = [id(p) for p in other.parameters()]
    assert load(other, tmp_path / "m.safetensors") == {"epoch": "3", "note": "naïve"}
    mine, theirs = model.state_dict(), other.state_dict()
    assert mine.keys() == theirs.keys() and "stem_bn.running_mean" in mine
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert [id(p) for p in other.parameters()] == identities
    assert tie(other, policy) == scopes
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(other.eval()(images), model.eval()(images))


def test_a_shared_tensor_is_stored_once(tmp_path):
    save(small(), tmp_path / "m")
    assert set(load_file(tmp_path / "m")) == {"0.weight", "0.bias"}
    partly = small()
    untie(partly, "0")
    save(partly, tmp_path / "m")
    assert set(load_file(tmp_path / "m")) == {"0.weight", "0.bias", "1.weight", "1.bias"}


def test_tensors_of_one_memory_are_one_though_they_are_two_objects(tmp_path):
    model, other = (nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)) for _ in range(2))
    for net in (model, other):
        net[1].weight = nn.Parameter(net[0].weight.detach())
    save(model, tmp_path / "m")
    assert set(load_file(tmp_path / "m")) == {"0.weight", "0.bias", "1.bias"}
    load(other, tmp_path / "m")
    assert torch.equal(other[1].weight, model[0].weight)
    assert other[1].weight.data_ptr() == other[0].weight.data_ptr()
    with pytest.raises(
        CheckpointError, match=r"shares '0.weight' with '1.weight' and the model do"
    ):
        load(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), tmp_path / "m")


@pytest.mark.parametrize("view", [lambda w: w.t(), lambda w: w[:2], lambda w: w[1:]])
def test_other_views_of_one_memory_are_refused(tmp_path, view):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = nn.Parameter(view(model[0].weight.detach()))
    with pytest.raises(CheckpointError, match=r"'[01].weight' and '[01].weight' are different vie"):
        save(model, tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_parts_without_entries_share_nothing(tmp_path):
    model = nn.ParameterList([torch.zeros(0), torch.zeros(0), torch.zeros(2)])
    save(model, tmp_path / "m")
    assert set(load_file(tmp_path / "m")) == {"0", "1", "2"}
    load(model, tmp_path / "m")


@pytest.mark.parametrize("text", ["not JSON", "[]", '{"1.weight": 0}', '{"1.weight": "2.weight"}'])
def test_names_of_shared_tensors_that_another_program_wrote(tmp_path, text):
    save_file({"0.weight": torch.zeros(1)}, tmp_path / "m", {"aliases": text})
    with pytest.raises(CheckpointError, match=r"m does not say which tensors it shares .aliases: "):
        load(small(), tmp_path / "m")


def wrong_model(build):
    return lambda path: (save(small(), path), build())[1]


def ordinary_file(tensors):
    return lambda path: (save_file(tensors, path), small())[1]


def cut_short(keep):
    def write(path):
        save(small(), path)
        path.write_bytes(path.read_bytes()[:keep])
        return small()

    return write


def one_more(model):
    model.register_buffer("extra", torch.zeros(1))
    return model


REFUSED = {
    "missing": (lambda path: small(), "there is no checkpoint .*m: check the path"),
    "a folder": (lambda path: (path.mkdir(), small())[1], "is no complete checkpoint"),
    "empty": (cut_short(0), "is no complete checkpoint"),
    "cut in the header": (cut_short(20), "is no complete checkpoint"),
    "cut by a byte": (cut_short(-1), "is no complete checkpoint"),
    "apart": (
        wrong_model(lambda: small(tied=False)),
        "m shares '0.weight' with '1.weight' and the model does not: tie the model as",
    ),
    "shape": (
        wrong_model(lambda: small(channels=3)),
        "'0.weight' is float32 2×2×3×3 in .*m and float32 3×3×3×3 in the model",
    ),
    "type": (
        wrong_model(lambda: small().double()),
        "'0.weight' is float32 2×2×3×3 in .*m and float64 2×2×3×3 in the model",
    ),
    "more": (wrong_model(lambda: one_more(small())), "m has no 'extra', which the model has"),
    "fewer": (
        wrong_model(lambda: nn.Sequential(small()[0])),
        "m has '1.weight', which the model has not",
    ),
    "another file": (ordinary_file({"x": torch.zeros(1)}), "m has no '0.weight'"),
    "untied file": (
        ordinary_file({f"{i}.{k}": v.clone() for i in range(3)
                       for k, v in nn.Conv2d(2, 2, 3).state_dict().items()}),
        "the model shares '0.weight' with '1.weight' and .*m does not",
    ),
    "no storage": (wrong_model(lambda: small().to("meta")), "'0.weight' has no storage"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_loaded_changes_nothing(tmp_path, case):
    write, message = REFUSED[case]
    model = write(tmp_path / "m")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=message) as error:
        load(model, tmp_path / "m")
    assert "\n" not in str(error.value)
    for name, tensor in model.state_dict().items():
        assert tensor.is_meta or torch.equal(tensor, before[name])


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m"
    save(small(), path)
    old = path.read_bytes()

    def killed(*paths):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save(small(), path)
    assert path.read_bytes() == old


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        ({"epoch": 3}, "'epoch': 3"),
        ({"aliases": "mine"}, "'aliases': 'mine'"),
        ({1: "a"}, "1: 'a'"),
    ],
)
def test_metadata_is_text(tmp_path, metadata, named):
    with pytest.raises(CheckpointError, match=f"^metadata {named} cannot be kept"):
        save(small(), tmp_path / "m", metadata)
    assert not list(tmp_path.iterdir())


def test_a_model_without_storage_cannot_be_saved(tmp_path):
    with without_weights():
        model = small()
    with pytest.raises(CheckpointError, match=r"'0.weight' has no storage: build the model with"):
        save(model, tmp_path / "m")


def test_extra_state_is_refused(tmp_path):
    class Stateful(nn.Conv2d):
        def get_extra_state(self):
            return "step 1"

    model = Stateful(2, 2, 3)
    with pytest.raises(CheckpointError, match="'_extra_state' is a str: a checkpoint holds"):
        save(model, tmp_path / "m")
