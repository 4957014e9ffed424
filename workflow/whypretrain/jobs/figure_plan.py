"""What each figure of a study reads, and what it is told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from whypretrain.config.claims import Choice
from whypretrain.config.models import Config
from whypretrain.files.origins import canonical
from whypretrain.grid.claim_arms import ClaimArms
from whypretrain.grid.coordinates import NO_RECIPE, UNTRAINED, Paths, write_rate
from whypretrain.grid.grid import Grid
from whypretrain.jobs.selections import Selections
from whypretrain.registry import constants

UNEVEN = 1.1  # the largest class has so many times its even share


def family_named(choice: Choice) -> str:
    """Return the family of modes that a choice of a claim is of, as the table `modes` has it (`svm-N` is `svm-L`)."""
    if choice.source == UNTRAINED:
        return "scratch"
    name, _, number = choice.mode.partition("-")
    return {"freeze": "freeze-N", "svm": "svm-L"}.get(name, f"{name}-L" if number else name)


class FigurePlan:
    """Inputs and specs of the figures and of the report's main page."""

    def __init__(self, config: Config, grid: Grid, paths: Paths, selections: Selections, matplotlib: str) -> None:
        self.config = config
        self.grid = grid
        self.paths = paths
        self.selections = selections
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
                **self._guess(setting.target.rpartition(".")[0]),
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
            "classes": {
                task: list(self.grid.classes(task))
                for task in sorted({pair["target"] for pair in pairs})
                if self.config.tasks[task].class_half is None
            },
            "regularisers": self._regularisers(study),
            "rules": self._rules(study),
        }

    def _guess(self, task: str) -> dict[str, str]:
        """Return what always guessing the largest class of an uneven target gets right; nothing of an even one."""
        share = self.grid.largest_class(task)
        return {"guess": f"{100 * share:.1f} %"} if share > UNEVEN / self.grid.class_count(task) else {}

    def _regularisers(self, study: str) -> dict[str, str]:
        recipes = sorted({arm.recipe for arm in self.grid.arms_of(study)} - {NO_RECIPE})
        found = {name: self.config.recipes[name].regulariser for name in recipes}
        return {name: regulariser.name for name, regulariser in found.items() if regulariser}

    def _rules(self, study: str) -> list[dict[str, Any]]:
        """Return the claims of a study that say what is best for one kind of target, setting by setting."""
        rules = []
        for name in self.config.studies[study].claims:
            arms = ClaimArms(self.grid, study, name)
            claim, advised = arms.claim, arms.claim.components[0].of[0]
            for setting in claim.settings if claim.quadrant else ():
                found = [arm for pair in arms.pairs(setting) for arm in arms.side(pair, advised).values()]
                rules.append(
                    {
                        "setting": setting,
                        "claim": name,
                        "architecture": claim.architecture,
                        "quadrant": claim.quadrant,
                        "family": family_named(advised),
                        "modes": sorted({arm.mode for arm in found}),
                        "statement": claim.statement,
                    }
                )
        return rules

    def tables(self, figure: str) -> list[str]:
        """Return the tables that a figure reads."""
        return [self.paths.file("table", table=table) for table in constants("figures", figure)["TABLES"]]

    def spec(self, figure: str) -> Callable[[Any], str]:
        """Return the spec of a figure as a function of the study, with what each of its weight files is."""

        def spec(wildcards: Any) -> str:
            labels = [label for label, _ in self._weights(figure, wildcards.study)]
            spec = {"figure": figure, "view": self.view(wildcards.study), "weights": labels}
            return canonical({**spec, "versions": {"matplotlib": self.matplotlib}, **self._marked()})

        return spec

    def weights(self, figure: str) -> Callable[[Any], list[str]]:
        """Return the weight files of a figure as a function of the study."""
        return lambda wildcards: [path for _, path in self._weights(figure, wildcards.study)]

    def selection(self, figure: str) -> Callable[[Any], list[str]]:
        """Return what says at which rates a figure's weights were trained, as a function of the study."""
        asked = constants("figures", figure).get("WEIGHTS") and not self.config.partial
        return lambda wildcards: [self.paths.file("selection", study=wildcards.study)] if asked else []

    def _marked(self) -> dict[str, bool]:
        return {"partial": True} if self.config.partial else {}

    def category(self) -> str:
        """Return what the report calls the figures of a study."""
        return "{study} (partial)" if self.config.partial else "{study}"

    def _weights(self, figure: str, study: str) -> list[tuple[dict[str, str], str]]:
        """Return what each weight file of a figure is, with its path: none, or those of its study's claims.

        These are, of one seed, the start and the final at the selected learning rate of the intact arm and of the
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
                if selected := self.selections.of(study).get(arm):
                    text = write_rate(selected.rate)
                    path = self.paths.file("final", **key, learning_rate=text)
                    found.append(({**label, "what": "final", "learning_rate": text}, path))
        return [(label, path) for label, path in found if not self.config.partial or Path(path).exists()]

    def summary_spec(self, wildcards: Any = None) -> str:
        """Spec of the report's main page: what each study asks."""
        studies = [
            {
                "question": study.question,
                "view": self.view(name),
                "advice": name in self.advised(),
            }
            for name, study in self.config.studies.items()
        ]
        return canonical({"studies": studies, **self._marked()})

    def advised(self) -> list[str]:
        """Return the studies that compare ways of using a source: those with a mode map."""
        return [name for name, study in self.config.studies.items() if "mode-map" in study.figures]

    def advice_files(self) -> list[str]:
        """Return the path of the advice in plain text, where any study gives some."""
        return [self.paths["advice"]] if self.advised() else []

    def advice_spec(self, wildcards: Any = None) -> str:
        """Spec of the advice in plain text: each study's sources and targets, with their images by part and class."""
        studies = []
        for name in self.advised():
            settings = [(cell, pair) for cell, pairs in self.config.studies[name].settings.items() for pair in pairs]
            tasks = dict.fromkeys(pair.target.rpartition(".")[0] for _, pair in settings)
            studies.append(
                {
                    "study": name,
                    "title": self.config.studies[name].title,
                    "sources": {cell: pair.source for cell, pair in settings},
                    "targets": {task: self._images(task) for task in tasks},
                }
            )
        return canonical({"studies": studies, "seeds": self.config.seeds, **self._marked()})

    def _images(self, task: str) -> dict[str, Any]:
        """Return a task's images by class, and by part and class, and the parts that they come divided into."""
        dataset, images = self.config.tasks[task].dataset, self.grid.images_per_class(task)
        test = self.grid.part_sizes(dataset)["test"]
        parts = {
            "train": {name: training for name, (training, _) in images.items()},
            "validation": {name: validation for name, (_, validation) in images.items()},
            "test": {name: test[name] for name in images},
        }
        counts = {name: sum(of_class[name] for of_class in parts.values()) for name in images}
        return {"counts": counts, "parts": parts, "given": list(self.grid.given_parts(dataset))}
