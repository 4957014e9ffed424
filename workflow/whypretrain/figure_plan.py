"""What each figure of a study reads, and what it is told."""

from collections.abc import Callable
from typing import Any

from whypretrain.config import Config
from whypretrain.coordinates import Paths, write_rate
from whypretrain.declared import constants
from whypretrain.grid import Grid
from whypretrain.storage import canonical


class FigurePlan:
    """Inputs and specs of the figures and of the report's main page."""

    def __init__(self, config: Config, grid: Grid, paths: Paths, matplotlib: str) -> None:
        self.config = config
        self.grid = grid
        self.paths = paths
        self.matplotlib = matplotlib

    def names(self) -> list[str]:
        """Return the figures that any study has."""
        return sorted({figure for study in self.config.studies.values() for figure in study.figures})

    def files(self) -> list[str]:
        """Return the paths of all figures, in both formats."""
        return [
            self.paths.file(kind, study=name, figure=figure)
            for name, study in self.config.studies.items()
            for figure in study.figures
            for kind in ("figure_svg", "figure_png")
        ]

    def view(self, study: str) -> dict[str, Any]:
        """Return what a figure knows of its study (`view.View`)."""
        settings = self.config.studies[study]
        pairs = [
            {
                "name": name if len(several) == 1 else f"{name} {number}",
                "source": setting.source,
                "epoch": self.grid.epoch(setting.source, settings.epoch, f"studies.{study}.epoch"),
                "target": setting.target.rpartition(".")[0],
                "shots": setting.target.rpartition(".")[2],
            }
            for name, several in settings.settings.items()
            for number, setting in enumerate(several, 1)
        ]
        architectures = sorted({arm.architecture for arm in self.grid.arms_of(study)})
        return {
            "study": study,
            "title": settings.title,
            "settings": pairs,
            "pairs": list(settings.pairs),
            "depths": {name: self.grid.depth(name) for name in architectures},
            "recipe": settings.recipe,
            "scratch_recipe": settings.scratch_recipe,
            "seed": self.config.seeds[0],
        }

    def tables(self, figure: str) -> list[str]:
        """Return the tables that a figure reads."""
        return [self.paths.file("table", table=table) for table in constants("figures", figure)["TABLES"]]

    def spec(self, figure: str) -> Callable[[Any], str]:
        """Return the spec of a figure as a function of the study, with what each of its weight files is."""

        def spec(wildcards: Any) -> str:
            labels = [label for label, _ in self._weights(figure, wildcards.study)]
            spec = {"figure": figure, "view": self.view(wildcards.study), "weights": labels}
            return canonical({**spec, "versions": {"matplotlib": self.matplotlib}})

        return spec

    def weights(self, figure: str) -> Callable[[Any], list[str]]:
        """Return the weight files of a figure as a function of the study."""
        return lambda wildcards: [path for _, path in self._weights(figure, wildcards.study)]

    def _weights(self, figure: str, study: str) -> list[tuple[dict[str, str], str]]:
        """Return what each weight file of a figure is, with its path: none, or those of its study's claims.

        These are, of one seed, the start and the finals at every learning rate of the intact arm and of the
        one whose kernels are all shuffled, in the first setting.
        """
        settings = self.config.studies[study]
        if not constants("figures", figure).get("WEIGHTS") or not settings.settings:
            return []
        setting, *_ = next(iter(settings.settings.values()))
        epoch = self.grid.epoch(setting.source, settings.epoch, f"studies.{study}.epoch")
        found = []
        for arm in self.grid.arms_of(study):
            told = arm.mode == "finetune" and (arm.source, arm.epoch, arm.target, arm.recipe) == (
                setting.source,
                epoch,
                setting.target,
                settings.recipe,
            )
            if told and arm.span == "all" and arm.treatment in ("intact", "shuffle-kernels"):
                label = {"architecture": arm.architecture, "treatment": arm.treatment}
                key = {**arm.columns(), "seed": self.config.seeds[0]}
                found.append(({**label, "what": "start"}, self.paths.file("start", **key)))
                for rate in self.config.recipes[arm.recipe].learning_rates:
                    text = write_rate(rate)
                    path = self.paths.file("final", **key, learning_rate=text)
                    found.append(({**label, "what": "final", "learning_rate": text}, path))
        return found

    def summary_spec(self) -> str:
        """Spec of the report's main page: what each study asks, and what its claims measure."""
        studies = [
            {
                "question": study.question,
                "view": self.view(name),
                "claims": {claim: self.unit(claim) for claim in study.claims},
            }
            for name, study in self.config.studies.items()
        ]
        return canonical({"studies": studies})

    def unit(self, name: str) -> str:
        """Return the unit that a claim's effect and margin are in."""
        claim = self.config.claims[name]
        over = claim.components[0].over
        if over in ("peak-position", "reach"):
            return "checkpoints"
        if over == "correlation":
            return "of rank correlation"
        if claim.measure == "cosine_mean":
            return "of cosine"
        if claim.measure == "cka":
            return "of CKA"
        if over != "slope":
            return "points"
        return "points a doubling" if any("E" in str(c.epoch) for c in claim.components[0].of) else "points a layer"
