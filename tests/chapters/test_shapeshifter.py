"""Budgets of Neural Parameter Allocation Search, counted, and tables that it prints twice."""

from decimal import Decimal

from reuseprior.chapters import shapeshifter
from reuseprior.report.published import Printed
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
        assert shapeshifter.parameters(model) / 1e6 not in Printed.parse("36").window()


def test_public_names():
    names = {"SSN-WRN-28-10": "wrn-28-10", "SWRN-28-10": "wrn-28-10", "WRN-50-2": "wrn-50-2",
             "DenseNet-BC-190-40, smaller": "densenet-bc-190-40"}  # fmt: skip
    assert {model: shapeshifter.name(model) for model in names} == names


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
