"""Pages: the figures of each study, the report, and the advice in plain text."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from whypretrain import registry
from whypretrain.config.claims import Choice
from whypretrain.grid.claim_arms import ClaimArms
from whypretrain.grid.coordinates import NO_RECIPE, UNTRAINED, write_rate, write_run
from whypretrain.jobs.form import At, Form, Reads, Seeds, identifier, named
from whypretrain.registry import constants

UNEVEN = 1.1  # the largest class has so many times its even share


def family_named(choice: Choice) -> str:
    """Return the family of modes that a choice of a claim is of, as the table `modes` has it (`svm-N` is `svm-L`)."""
    if choice.source == UNTRAINED:
        return "scratch"
    name, _, number = choice.mode.partition("-")
    return {"freeze": "freeze-N", "svm": "svm-L"}.get(name, f"{name}-L" if number else name)


def templates_digest() -> str:
    """Return a digest of the report's templates, captions and looks."""
    files = sorted((registry.PACKAGE.parent / "report").iterdir())
    return hashlib.sha256(b"".join(file.name.encode() + file.read_bytes() for file in files)).hexdigest()[:16]


class _Page(Form):
    shown = True

    @property
    def folder(self) -> str:
        return self.plan.paths.shown

    def marked(self) -> dict[str, bool]:
        """Return what a spec says of a partial plan."""
        return {"partial": True} if self.plan.config.partial else {}

    def view(self, study: str) -> dict[str, Any]:
        """Return what a figure knows of its study (`view.View`)."""
        config, grid = self.plan.config, self.plan.grid
        settings = config.studies[study]
        pairs = [
            {
                "name": name if len(several) == 1 else f"{name} {number}",
                "source": setting.source,
                "epoch": grid.epoch(setting.source, settings.epoch, f"studies.{study}.epoch"),
                "target": setting.target.rpartition(".")[0],
                "shots": setting.target.rpartition(".")[2],
                **self._guess(setting.target.rpartition(".")[0]),
            }
            for name, several in settings.settings.items()
            for number, setting in enumerate(several, 1)
        ]
        architectures = sorted({arm.architecture for arm in grid.arms_of(study)})
        return {
            "study": study,
            "title": settings.title,
            "settings": pairs,
            "pairs": list(settings.pairs),
            "depths": {name: grid.depth(name) for name in architectures},
            "recipe": settings.recipe,
            "scratch_recipe": settings.scratch_recipe,
            "seed": config.seeds[0],
            "classes": {
                task: list(grid.classes(task))
                for task in sorted({pair["target"] for pair in pairs})
                if config.tasks[task].class_half is None
            },
            "published": sorted({a.source for a in grid.arms_of(study) if grid.is_one_network(a.source)}),
            "regularisers": self._regularisers(study),
            "rules": self._rules(study),
        }

    def _guess(self, task: str) -> dict[str, str]:
        """Return what always guessing the largest class of an uneven target gets right; nothing of an even one."""
        share = self.plan.grid.largest_class(task)
        return {"guess": f"{100 * share:.1f} %"} if share > UNEVEN / self.plan.grid.class_count(task) else {}

    def _regularisers(self, study: str) -> dict[str, str]:
        recipes = sorted({arm.recipe for arm in self.plan.grid.arms_of(study)} - {NO_RECIPE})
        found = {name: self.plan.config.recipes[name].regulariser for name in recipes}
        return {name: regulariser.name for name, regulariser in found.items() if regulariser}

    def _rules(self, study: str) -> list[dict[str, Any]]:
        """Return the claims of a study that say what is best for one kind of target, setting by setting."""
        rules = []
        for name in self.plan.config.studies[study].claims:
            arms = ClaimArms(self.plan.grid, study, name)
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


class PlotFigure(_Page):
    """A figure, of each study that has it: each has a caption, and reads tables of its own."""

    stage = "plot_figure"
    silent = undigested = ("selection",)

    @property
    def figure(self) -> str:
        """Which figure it is."""
        return self.parts[0]

    @property
    def name(self) -> str:
        return f"plot_{identifier(self.figure)}"

    @property
    def category(self) -> str:
        """What the report calls the figures of a study."""
        return "{study} (partial)" if self.plan.config.partial else "{study}"

    def inputs(self) -> dict[str, Reads]:
        return {
            "tables": self._tables,
            "weights": lambda at, seeds: [path for _, path in self._weights(at.study)],
            "selection": self._selection,
            "partial": self.partial,
        }

    def _tables(self, at: At, seeds: Seeds) -> list[str]:
        return [self.plan.paths.file("table", table=name) for name in constants("figures", self.figure)["TABLES"]]

    def _selection(self, at: At, seeds: Seeds) -> list[str]:
        """Return what says at which rates the weights were trained."""
        asked = constants("figures", self.figure).get("WEIGHTS") and not self.plan.config.partial
        return [self.plan.paths.file("selection", study=at.study)] if asked else []

    def outputs(self, seeds: Seeds) -> dict[str, list[str]]:
        return {name: [self.plan.paths.open(f"figure_{name}", figure=self.figure)] for name in ("svg", "png")}

    def spec(self, at: At, seeds: Seeds) -> dict[str, Any]:
        """Return what it is told of its study, with what each of its weight files is."""
        labels = [label for label, _ in self._weights(at.study)]
        told = {"figure": self.figure, "view": self.view(at.study), "weights": labels}
        return {**told, "versions": self.plan.values.versions("matplotlib"), **self.marked()}

    def modules(self, at: At) -> list[str]:
        return [registry.module_name("figures", self.figure)]

    def every(self) -> Iterator[SimpleNamespace]:
        studies = self.plan.config.studies.items()
        yield from (named(study=name) for name, study in studies if self.figure in study.figures)

    def _weights(self, study: str) -> list[tuple[dict[str, str], str]]:
        """Return what each weight file of a figure is, with its path: none, or those of its study's claims.

        These are, of one seed, the start and the final at the selected learning rate of the intact arm and of the
        one whose kernels are all shuffled, in the first setting. A final is one run's of its batch.
        """
        plan, settings = self.plan, self.plan.config.studies[study]
        if not constants("figures", self.figure).get("WEIGHTS") or not settings.settings:
            return []
        setting, *_ = next(iter(settings.settings.values()))
        epoch = plan.grid.epoch(setting.source, settings.epoch, f"studies.{study}.epoch")
        seed, found = plan.config.seeds[0], []
        for arm in plan.grid.arms_of(study):
            told = arm.mode == "finetune" and (arm.source, arm.epoch, arm.target, arm.recipe) == (
                setting.source,
                epoch,
                setting.target,
                settings.recipe,
            )
            if told and arm.span == "all" and arm.treatment in ("intact", "shuffle-kernels"):
                label = {"architecture": arm.architecture, "treatment": arm.treatment}
                found.append(({**label, "what": "start"}, plan.paths.file("start", **arm.columns(), seed=seed)))
                if selected := plan.selections.of(study).get(arm):
                    text = write_rate(selected.rate)
                    path = plan.paths.file("final", **arm.columns(), batch=f"lr-{text}.{plan.blocks()[0].name}")
                    run = {"run": write_run(selected.rate, seed), "learning_rate": text}
                    found.append(({**label, "what": "final", **run}, path))
        return [(label, path) for label, path in found if not plan.config.partial or Path(path).exists()]


class _Text(_Page):
    reads: tuple[str, ...] = ()
    output = ""

    def inputs(self) -> dict[str, Reads]:
        return {name: self.table(name) for name in self.reads} | {"partial": self.partial}

    def outputs(self, seeds: Seeds) -> dict[str, list[str]]:
        return {"page": [self.plan.paths[self.output]]}


class WriteReport(_Text):
    """The report: what was asked and what came out, the figures, and the numbers behind them."""

    stage, output = "write_report", "report"
    reads = (
        *("verdicts", "arms", "contrasts", "transfer", "maturity", "correlations", "modes", "advice"),
        *("sources", "provenance"),
    )

    def inputs(self) -> dict[str, Reads]:
        return super().inputs() | {"figures": lambda at, seeds: list(self._figures())}

    def _figures(self) -> Iterator[str]:
        for name, study in self.plan.config.studies.items():
            for figure in study.figures:
                yield self.plan.paths.file("figure_svg", study=name, figure=figure)

    def spec(self, at: At, seeds: Seeds) -> dict[str, Any]:
        """Return what each study asks and draws, the config, and what the page is made with."""
        config = self.plan.config
        studies = [
            {
                "question": study.question,
                "view": self.view(name),
                "advice": name in self.plan.advised(),
                "figures": [
                    {"name": figure, "tables": list(constants("figures", figure)["TABLES"])} for figure in study.figures
                ],
            }
            for name, study in config.studies.items()
        ]
        return {
            "studies": studies,
            "config": config.model_dump(mode="json", exclude={"include", "execution", "partial"}),
            "versions": self.plan.values.versions(*self.plan.values.packages),
            "templates": templates_digest(),
            **self.marked(),
        }

    def every(self) -> Iterator[SimpleNamespace]:
        yield named()


class WriteAdvice(_Text):
    """For studies with a mode map: what to do, in plain sentences."""

    stage, output, reads = "write_advice", "advice", ("advice", "provenance")

    def spec(self, at: At, seeds: Seeds) -> dict[str, Any]:
        """Return each study's sources and targets, with their images by part and class."""
        studies = []
        for name in self.plan.advised():
            study = self.plan.config.studies[name]
            settings = [(cell, pair) for cell, pairs in study.settings.items() for pair in pairs]
            tasks = dict.fromkeys(pair.target.rpartition(".")[0] for _, pair in settings)
            studies.append(
                {
                    "study": name,
                    "title": study.title,
                    "sources": {cell: pair.source for cell, pair in settings},
                    "targets": {task: self._images(task) for task in tasks},
                }
            )
        return {"studies": studies, "seeds": self.plan.config.seeds, **self.marked()}

    def _images(self, task: str) -> dict[str, Any]:
        """Return a task's images by class, and by part and class, and the parts that they come divided into."""
        grid = self.plan.grid
        dataset, images = self.plan.config.tasks[task].dataset, grid.images_per_class(task)
        test = grid.part_sizes(dataset)["test"]
        parts = {
            "train": {name: training for name, (training, _) in images.items()},
            "validation": {name: validation for name, (_, validation) in images.items()},
            "test": {name: test[name] for name in images},
        }
        counts = {name: sum(of_class[name] for of_class in parts.values()) for name in images}
        return {"counts": counts, "parts": parts, "given": list(grid.given_parts(dataset))}

    def every(self) -> Iterator[SimpleNamespace]:
        if self.plan.advised():
            yield named()
