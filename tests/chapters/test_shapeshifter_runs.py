"""Stores at equal budgets: what is compared, and mappings that a training finds."""

from reuseprior.chapters import shapeshifter
from reuseprior.chapters.shapeshifter import narrower, stores_by_budget
from reuseprior.report import campaign
from reuseprior.training import Protocol, contenders
from reuseprior.training.contenders import SHALLOW, WIDE, parameters_of


def test_stores_and_rivals_store_no_more_and_nearly_as_much():
    total = parameters_of(WIDE)
    assert total == 691_674
    for percent in (2, 5, 10, 25, 50):
        budget = total * percent // 100
        assert (
            0.99 * budget <= parameters_of(stores_by_budget(percent, "weighted", "mask")) <= budget
        )
        for model in (WIDE.model, SHALLOW):
            assert 0.9 * budget <= parameters_of(narrower(percent, model)) <= budget
    listed = contenders.listed(campaign.planned("11-shapeshifter"))
    assert len({one.name for one in listed}) == len(listed) == 36
    assert {one.way for one in listed} >= {
        "plain", "narrower", "shallower", "stores (weighted, mask)", "scopes",
    }  # fmt: skip


def test_a_mapping_is_found_and_trained(monkeypatch, tmp_path):
    few = Protocol.load("stores", epochs=1, train_images=64, test_images=32, batch_size=32,
                        image_size=8, test_image_size=8)  # fmt: skip

    def load(name, **changes):
        return few.changed({k: v for k, v in changes.items() if k != "epochs"})

    monkeypatch.setattr(Protocol, "load", load)
    monkeypatch.setattr(contenders, "DATA", "digits")
    mapped = shapeshifter.learned(10, 3, root=tmp_path)
    digits = mapped.sharing.rpartition("map=")[2]
    assert len(digits) == 16 and set(digits) == set("012")
    assert shapeshifter.learned(10, 3, root=tmp_path) == mapped  # read, not trained again
    run = contenders.train_one(mapped, "stores", root=tmp_path, progress=False)
    assert run.config["sharing"] == f"stores:10%,weighted,mask,map={digits}"
    assert run.config["parameters"] <= 69_167
    (row,) = contenders.compared(contenders.runs(tmp_path)).itertuples()
    assert row.way == "stores (weighted, mask, learned mapping)"
