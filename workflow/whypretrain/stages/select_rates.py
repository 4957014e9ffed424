"""Select the learning rate of each arm of a study on its pilots' validation images.

The seeds that decide train at the rates selected for an arm and for all arms that a claim compares it with at common
rates, and at those that a claim names. Where config asks how stable verdicts are (`selection_draws`), they train at
the rates, too, that draws of the pilot seeds select often.
"""

import pandas as pd

from whypretrain.command import Job, log, run_stage
from whypretrain.evidence.selection import by_few, draw_seeds, select_again, select_learning_rates
from whypretrain.files.storage import read_columns, write_card
from whypretrain.grid.coordinates import ARM_KEYS, Arm, key_columns, key_of

OFTEN = 0.1  # of the draws: rates that more of them select are trained at


def main(job: Job) -> None:
    """Read the scores of all pilots; write a row for each arm."""
    spec, rows, paths = job.spec, [], iter(job.files("scores"))
    arms = [Arm(*coordinates) for coordinates in spec["arms"]]
    for arm in arms:
        runs = len(spec["rates"][arm.recipe]) * len(spec["seeds"]) if len(spec["rates"][arm.recipe]) > 1 else 0
        while runs > 0:  # the arm's batches stand one after another
            scores = read_columns(next(paths))[0].to_pandas()
            rows.append(scores.assign(**key_columns(arm)))
            runs -= len(scores)
    pilots = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()
    pilots = by_few(pilots) if spec["selection"] == "shots" else pilots
    found = select_learning_rates(pilots, spec["criterion"]).to_dict("records") if rows else []
    selected = {tuple(row[key] for key in ARM_KEYS): row for row in found}
    drawn = select_again(pilots, draw_seeds(spec["seeds"], spec["draws"]), spec["criterion"]) if rows else {}
    choices, often = [], []
    for arm in arms:
        row = selected.get(key_of(arm))
        rate, edge = (row["learning_rate"], bool(row["grid_edge"])) if row else (spec["rates"][arm.recipe][0], False)
        draws = [each for each, _ in drawn.get(key_of(arm), [])]
        choices.append({**arm.columns(), "learning_rate": rate, "grid_edge": edge})
        often.append({rate, *(each for each in draws if draws.count(each) > OFTEN * len(draws))})
    for number, choice in enumerate(choices):
        others = (rate for other in spec["shared"].get(str(number), ()) for rate in often[other])
        rates = {*often[number], *spec["named"].get(str(number), ()), *others}
        choice["learning_rates"] = sorted(rates, key=lambda rate: rate or 0.0)
    write_card(job.file("selection"), {"arms": choices}, job.origin())
    edges = sum(choice["grid_edge"] for choice in choices)
    log.info("%d arms, %d with the learning rate at the edge of its grid", len(choices), edges)


if __name__ == "__main__":
    run_stage(main)
