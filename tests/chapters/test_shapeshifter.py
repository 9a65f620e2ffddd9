"""Neural Parameter Allocation Search: budgets, tables that it prints twice, and what is trained."""

from decimal import Decimal

import pytest

from reuseprior.chapters import shapeshifter
from reuseprior.report import campaign
from reuseprior.report.published import Printed
from reuseprior.training import Protocol, baselines
from reuseprior.training.baselines import SHALLOW, WIDE, parameters_of
from tests.chapters.printed import table


def test_counted_budgets():
    assert shapeshifter.in_blocks("WRN-28-10") == 12_344_884
    # 11 % of the network is more than just under four million
    assert shapeshifter.parameters("WRN-28-10") * Decimal("0.1125") > 4_000_000
    assert shapeshifter.least("WRN-28-10") == 3_768_452
    twice = shapeshifter.least("WRN-50-2", "ImageNet", layers=2, classifier=True)
    assert 0 < twice - 2 * shapeshifter.largest("WRN-50-2", "ImageNet") < 70_000  # batch norms
    assert shapeshifter.manual_stores("WRN-28-10") == 14
    assert shapeshifter.manual_stores("WRN-50-2", "ImageNet") == 32
    assert round(shapeshifter.parameters("SSN-DenseNet-BC-190-40") / 1e6) == 26
    for model in ("WRN-28-10", "WRN-76-12"):
        assert shapeshifter.parameters(model) / 1e6 not in Printed.parse("36").interval()
    assert shapeshifter.name("DenseNet-BC-190-40, smaller") == "densenet-bc-190-40"


def test_tables_4_5_and_6_are_of_tables_7_8_and_9():
    four, five, six, seven, eight, nine = (table(f"npas/table-{n}") for n in range(4, 10))
    trained = eight[eight.model.str.startswith("WRN")].reset_index(drop=True)
    for shown, whole, columns in (
        (four, seven, ["percent_of_parameters", "reduced", "weighted", "embedding"]),
        (six, nine, ["percent_of_parameters", "reduced", "interpolate"]),
        (five, trained, ["baseline", "single", "manual"]),
    ):
        assert shown[columns].equals(whole[columns])
    best = trained[["weighted", "embedding"]].astype(float).min(axis=1)
    assert (five.learned.astype(float) == best).all()  # the better of both
    for printed, one in zip(six.itertuples(), nine.itertuples(), strict=True):
        better = max if one.model in shapeshifter.LINEAR else min
        assert float(printed.mask) == better(float(one.mask), float(one.mask_two_stores))


def test_stores_and_rivals_store_no_more_and_nearly_as_much():
    total = parameters_of(WIDE)
    assert total == 691_674
    for percent in (2, 5, 10, 25, 50):
        budget = total * percent // 100
        store = parameters_of(shapeshifter.stores_by_budget(percent, "weighted", "mask"))
        assert 0.99 * budget <= store <= budget
        for model in (WIDE.model, SHALLOW):
            assert 0.9 * budget <= parameters_of(shapeshifter.narrower(percent, model)) <= budget
    listed = baselines.listed(campaign.planned("11-shapeshifter"))
    assert len({one.name for one in listed}) == len(listed) == 36
    assert {one.kind for one in listed} >= {
        "plain", "narrower", "shallower", "stores (weighted, mask)", "scopes",
    }  # fmt: skip


@pytest.mark.slow
def test_a_mapping_is_found_and_trained(monkeypatch, tmp_path):
    few = Protocol.load("stores", epochs=1, train_images=64, test_images=32, batch_size=32,
                        image_size=8, test_image_size=8)  # fmt: skip

    def load(name, **changes):
        return few.changed({k: v for k, v in changes.items() if k != "epochs"})

    monkeypatch.setattr(Protocol, "load", load)
    monkeypatch.setattr(baselines, "DATA", "digits")
    mapped = shapeshifter.learned(10, 3, root=tmp_path)
    digits = mapped.sharing.rpartition("map=")[2]
    assert len(digits) == 16 and set(digits) == set("012")
    assert shapeshifter.learned(10, 3, root=tmp_path) == mapped  # read, not trained again
    run = baselines.train_one(mapped, "stores", root=tmp_path, progress=False)
    assert run.config["sharing"] == f"stores:10%,weighted,mask,map={digits}"
    assert run.config["parameters"] <= 69_167
    (row,) = baselines.compared(baselines.runs(tmp_path)).itertuples()
    assert row.kind == "stores (weighted, mask, learned mapping)"
