"""Runs as they are recorded, without training them."""

import pandas as pd

from reuseprior.results import CONFIG, METRICS, SUMMARY, read_json, write_json


def record(folder, config, metrics=None, **summary):
    """A run that is finished, where its summary does not say otherwise."""
    folder.mkdir(parents=True)
    write_json(folder / CONFIG, config)
    write_json(folder / SUMMARY, {"state": "finished"} | summary)
    if metrics is not None:
        pd.DataFrame(metrics).to_csv(folder / METRICS, index=False)
    return folder


def rewrite(folder, change):
    """Let a run's configuration be what a function makes of it."""
    write_json(folder / CONFIG, change(read_json(folder / CONFIG)))
