"""What the pipeline is given is read and never run: no pickle, no name that a shell obeys, no way out of a folder."""

import json
import os
import string
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import ROOT, Project, at_every_rate, fresh, plan_of, put, tiny
from dangers import compiled, dangers, shell_commands
from PIL import Image

from whypretrain.config import models as config
from whypretrain.config.models import ConfigError

PROGRAMS = sorted([*(ROOT / "workflow").rglob("*.py"), *(ROOT / "tests").glob("*.py")])
RULES = [ROOT / "Snakefile", *sorted((ROOT / "workflow/rules").glob("*.smk"))]
# the registry imports what stands in its folder, a test asks each dataset; CIFAR's pickles are read by a reader that
# knows no name but numpy's
ALLOWED = {
    "registry.py": {"importlib.import_module"},
    "test_datasets.py": {"importlib.import_module"},
    "cifar.py": {"pickle"},
    "test_torchvision_sets.py": {"pickle", "importlib.import_module"},
}

# --- nothing is unpickled, evaluated or given to a shell -----------------------------------


@pytest.mark.parametrize("path", PROGRAMS + RULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_program_unpickles_evaluates_or_calls_a_shell(path: Path):
    source = path.read_text(encoding="utf-8") if path.suffix == ".py" else compiled(path)
    assert dangers(source, frozenset(ALLOWED.get(path.name, ()))) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "import pickle as p",
        "from pickle import load",
        "import cloudpickle",
        "import dill",
        "import joblib",
        "from joblib import load",
        "import shelve",
        "import marshal",
        "import torch; torch.load('a.pth')",
        "import torch; torch.load('a.pth', weights_only=False)",
        "import torch; torch.load('a.pth', **{'weights_only': True})",
        "import torch as t; t.load('a.pth', weights_only=1 > 0)",
        "from torch import load as read; read('a.pth')",
        "from torch import load; list(map(load, ['a.pth']))",
        "import torch; torch.jit.load('a.pt')",
        "import torch; torch.hub.load('a', 'b')",
        "import numpy as np; np.load('a.npy', allow_pickle=True)",
        "import numpy as np; np.load('a.npy', None, True)",
        "import numpy as np; np.load('a.npy', allow_pickle=np.True_)",
        "from numpy import load; load('a.npy', **more)",
        "import pandas as pd; pd.read_pickle('a')",
        "import pandas as pd; pd.DataFrame().to_pickle('a')",
        "import yaml; yaml.load(text)",
        "import yaml; yaml.load(text, yaml.Loader)",
        "import yaml; yaml.load(text, Loader=yaml.FullLoader)",
        "import yaml; yaml.unsafe_load(text)",
        "import yaml\nclass Own(yaml.UnsafeLoader): pass\nyaml.load(text, Loader=Own)",
        "from yaml import *",
        "eval('1')",
        "list(map(eval, texts))",
        "exec('a = 1')",
        "import builtins; builtins.exec('a')",
        "__import__('pickle')",
        "__import__(name)",
        "import importlib; importlib.import_module(name)",
        "from importlib import import_module; import_module('joblib.numpy_pickle')",
        "import subprocess; subprocess.run('ls', shell=True)",
        "from subprocess import Popen; Popen('ls', shell=1)",
        "import subprocess; subprocess.check_output('ls', **{'shell': True})",
        "import subprocess; subprocess.getoutput('ls')",
        "import os; os.system('ls')",
        "from os import popen; popen('ls')",
        "import shutil; shutil.unpack_archive('a.tar')",
        "import tarfile; tarfile.open('a.tar').extractall('b')",
    ],
)
def test_each_danger_is_seen(line: str):
    assert dangers(line), "the check lets this through"
    assert dangers(f"def late():\n    {'    '.join(line.splitlines(keepends=True))}")[0].startswith(("2:", "3:", "4:"))


@pytest.mark.parametrize(
    "line",
    [
        "import torch; torch.load('a.pth', map_location='cpu', weights_only=True)",
        "import numpy as np; np.load('a.npy')",
        "import numpy as np; np.load('a.npy', allow_pickle=False)",
        "import yaml; yaml.safe_load(text)",
        "import yaml\nclass Own(yaml.SafeLoader): pass\nyaml.load(text, Loader=Own)",
        "import subprocess; subprocess.run(['ls'])",
        "import ast; ast.literal_eval('1')",
        "import re; re.compile('a'); network.eval()",
        "import yaml; yaml.safe_load('import pickle')",
    ],
)
def test_what_is_harmless_is_let_through(line: str):
    assert dangers(line) == []


# Python tells of every name that a pickle brings in, whatever library reads it; a pickle without any does nothing
TRAP = """
import os, sys

def told(event, arguments):
    if event in ("pickle.find_class", "os.system"):
        os.write(2, b"unpickled" if event == "pickle.find_class" else b"shell")
        os._exit(9)

sys.addaudithook(told)
"""


@pytest.mark.parametrize(
    "danger",
    [
        "import pickle; pickle.loads(pickle.dumps(Path()))",
        "import numpy as np; np.save('a.npy', [Path()], allow_pickle=True); np.load('a.npy', allow_pickle=True)",
        "import joblib; joblib.dump(Path(), 'a'); joblib.load('a')",
        "import pandas as pd; pd.to_pickle(Path(), 'a'); pd.read_pickle('a')",
        "import torch; torch.save(Path(), 'a'); torch.load('a', weights_only=False)",
        "os.system('ls')",
    ],
)
def test_the_trap_closes(danger: str, tmp_path: Path):
    program = f"{TRAP}\nfrom pathlib import Path\n{danger}"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (9, "shell" if "system" in danger else "unpickled")


def test_no_dataset_that_comes_with_a_package_is_unpickled(tmp_path: Path):
    program = (
        f"{TRAP}\nfrom whypretrain.data.datasets import digits, mnist5k\n"
        "for module in (digits, mnist5k):\n    print(len(module.prepare(module.Parameters(), 8)[1]))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["1797", "5000"]


@pytest.mark.soak
def test_no_job_unpickles_anything(again: Project):
    # in every job's path, so Python begins with it
    (again.path / "workflow/sitecustomize.py").write_text(TRAP + "open('armed', 'a').write('x')\n")
    files = ["datasets/glyphs/s0.safetensors", "report.html", "figures/tiny/first-layer-kernels.svg"]
    files += [f"tables/{name}.parquet" for name in ("runs", "arms", "contrasts", "transfer", "verdicts")]
    kinds = ["sources/**/s0/*.parquet", "starts/**/shuffle*.safetensors", "runs/**/lr-*/scores.parquet"]
    results = again.path / "results"
    files += [
        str(next(results.glob(f"{kind}")).relative_to(results)) for kind in [*kinds, "measures/start/**/*.parquet"]
    ]
    again.snakemake("--cores", "2", "--force", *(f"results/{file}" for file in files))
    assert len((again.path / "armed").read_text()) >= len(files)


# --- the shell -----------------------------------------------------------------------------


def fields(command: str) -> set[str]:
    """Return what stands in braces in a rule's command, with its format."""
    parsed = string.Formatter().parse(command)
    return {f"{name}:{form}{kind or ''}" for _, name, form, kind in parsed if name is not None}


@pytest.mark.parametrize("path", RULES[1:], ids=lambda path: path.name)
def test_every_rule_runs_one_plain_text_with_all_it_is_given_quoted(path: Path):
    commands = shell_commands(path)
    assert commands
    for rule, command in commands.items():
        assert isinstance(command, str), f"{rule} runs something else than one plain text"
        # a name, hexadecimal digits, and words that `Form.files` has quoted
        own = {"params.stage:", "params.code:", "params.files:"}
        assert {field for field in fields(command) if not field.endswith(":q")} <= own, rule


def test_a_rule_that_is_otherwise_is_seen(tmp_path: Path):
    path = tmp_path / "bad.smk"
    for bad in (
        'run:\n        shell("ls {input}")',
        'script:\n        "a.py"',
        'shell:\n        f"ls {paths}"',
        'shell:\n        "ls " + name',
    ):
        path.write_text(f"rule bad:\n    {bad}\n")
        assert shell_commands(path) == {"__rule_bad": ...}
    path.write_text('rule bad:\n    shell:\n        "ls {input} {params.spec:q} {wildcards.a!r}"\n')
    (command,) = shell_commands(path).values()
    assert fields(str(command)) == {"input:", "params.spec:q", "wildcards.a:r"}


# no braces: in the names of folders and files they are refused
HOSTILE = '$(touch PWNED) `touch PWNED`; touch PWNED & "touch" | > it\'s \\ $HOME #!* %s ü'
TEXT = f"{{{HOSTILE}}} {{input}} {{params.spec}}\n--code 'x' ${{HOME}}"
# stands for Python in the jobs: writes down what it was told and makes all files that aren't there
STUB = """#!{python}
import json, pathlib, sys
with open({told!r}, "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
for path in map(pathlib.Path, sys.argv[1:]):
    if path.parts and path.parts[0] == "re.sults" and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
"""


def pictures(folder: Path) -> Path:
    """A folder of images, hostile in the names of itself, of a class and of files."""
    for number in range(20):
        label = folder / HOSTILE / (f"cat {HOSTILE}" if number % 2 else "-dog")
        label.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(label / f"{number} {HOSTILE}.png")
    return folder / HOSTILE


def hostile(images: Path) -> dict[str, Any]:
    """The tiny study with words in it that a shell would obey."""
    raw = put(tiny(), "results", "re.sults/a_b-c")
    raw = put(raw, "datasets.digits", {"module": "folder", "parameters": {"path": str(images), "channels": 1}})
    raw = put(raw, "tasks.digits", {"dataset": "digits", "validation_shots": 1, "classes": [f"cat {HOSTILE}", "-dog"]})
    raw = put(put(raw, "studies.tiny.title", TEXT), "studies.tiny.question", TEXT)
    raw = put(raw, "studies.tiny.claims", [HOSTILE])
    return put(raw, "claims", {HOSTILE: raw["claims"]["kept"] | {"statement": TEXT, "paper": TEXT}})


def call(project: Project, *arguments: str, **environment: str) -> str:
    environment = project.environment() | environment
    done = subprocess.run(
        project.command(*arguments), cwd=project.path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_what_a_shell_would_obey_reaches_every_job_in_one_piece(tmp_path: Path):
    images = pictures(tmp_path)
    project = fresh(tmp_path / "it's a $(touch PWNED); project")
    raw = hostile(images)
    project.write_config(raw)
    dataset = "re.sults/a_b-c/datasets/digits"
    project.snakemake("--cores", "1", f"{dataset}.safetensors")  # in earnest
    card = json.loads((project.path / f"{dataset}.json").read_text())
    assert card["class_counts"] == {"-dog": 10, f"cat {HOSTILE}": 10}
    assert card["spec"]["parameters"]["path"] == str(images)

    # every other job by a stand-in that writes down what it is told
    told = tmp_path / "told.jsonl"
    stub = tmp_path / "bin" / "python"
    stub.parent.mkdir()
    stub.write_text(STUB.format(python=sys.executable, told=str(told)))
    stub.chmod(0o755)
    call(project, "--cores", "1", PATH=f"{stub.parent}:{project.environment()['PATH']}")
    jobs = [json.loads(line) for line in told.read_text().splitlines()]
    plan = plan_of(raw)
    made = list((project.path / "re.sults").rglob("*.jsonl"))
    assert len(jobs) + 1 == len(made) > 30, "each job once, beside the one before"
    for job in jobs:
        assert job[:3] == ["-m", job[1], "--spec"]
        assert job[4] == "--code"
        assert set(job[5]) <= set(string.hexdigits)
        json.loads(job[3])
        assert {path.split("/")[0] for path in job[6:] if "/" in path} == {"re.sults"}
    specs = {job[1].rpartition(".")[2]: job[3] for job in jobs}
    assert specs["judge_claims"] == plan.form("judge_claims").told(SimpleNamespace())
    assert TEXT in json.loads(specs["judge_claims"])["config"]["claims"][HOSTILE].values()
    assert specs["write_report"] == plan.form("write_report").told(SimpleNamespace())
    assert list(tmp_path.rglob("PWNED")) == []


@pytest.mark.parametrize(
    ("target", "variables"),
    [
        ("advise", {"DATA": 'nowhere"; touch PWNED; echo "\'$(touch PWNED)`touch PWNED`'}),
        ("run", {"CONFIG": "nowhere; touch PWNED; $(touch PWNED)"}),
        ("run", {"CONFIG": '\'"; touch PWNED; echo "'}),
    ],
)
def test_make_hands_what_it_is_given_to_no_shell(target: str, variables: dict[str, str], tmp_path: Path):
    project = fresh(tmp_path / "project")
    (project.path / "Makefile").write_text((ROOT / "Makefile").read_text())
    given = [f"{name}={value}" for name, value in variables.items()]
    done = subprocess.run(
        ["make", target, "READY=envs/requirements.txt", *given],
        cwd=project.path,
        env=project.environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode
    assert "touch PWNED" in done.stderr, "the name is told"
    assert not (project.path / "PWNED").exists()


# --- paths ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "results",
    [
        *("..", "../up", "a/../../x", "a/..", "/tmp/x", "~/x", ".", "./x", "a/./b", "a//b", "a/", ".git", "a/.git"),
        *("", "a b", "a;b", "a$b", "a{b}", "a\n", "a\\b", "ä", "a\0b", "-x"),
    ],
)
def test_results_stay_below_the_working_folder(results: str):
    with pytest.raises(ConfigError) as caught:
        plan_of(put(tiny(), "results", results))
    message = str(caught.value)
    assert message.startswith("results: is ")
    assert "below the working folder" in message
    assert "\n" not in message


@pytest.mark.parametrize("results", ["results", "results/advise/my-pets-1a2b3c", "a.b/c_d", "0"])
def test_results_may_lie_deeper(results: str):
    plan = plan_of(put(tiny(), "results", results))
    assert {path.split("/runs/")[0] for path in plan.paths.patterns.values() if "/runs/" in path} == {results}


ESCAPES = [
    "../up",
    "/up",
    "a/b",
    "..",
    ".",
    "a.b",
    "~",
    "a b",
    "A",
    "a_b",
    "",
    "a\n",
    "-a",
    "a-",
    "a--b",
    "ä",
    "{a}",
    "a\0",
]
NAMED = ("architectures", "datasets", "tasks", "pretraining", "sources", "recipes", "studies")


@pytest.mark.parametrize("section", NAMED)
def test_a_name_that_becomes_part_of_a_path_holds_nothing_that_leads_elsewhere(section: str):
    for name in ESCAPES:
        entry = next(iter(tiny()[section].values()))
        with pytest.raises(ConfigError) as caught:
            plan_of(put(tiny(), section, {**tiny()[section], name: entry}))
        assert str(caught.value).startswith(f"{section}."), name
        assert str(caught.value).count("\n") <= name.count("\n")


@pytest.mark.parametrize(
    "key",
    [f"grid.0.{key}" for key in ("architectures", "sources", "epochs", "treatments", "spans", "targets", "modes")]
    + ["grid.0.recipes", "grid.0.measures", "figures", "claims", "pairs"],
)
def test_a_study_names_nothing_that_leads_elsewhere(key: str):
    for name in [
        "../up",
        "/up",
        "intact/../..",
        "all/..",
        "digits.2/..",
        "digits/...2",
        "finetune/..",
        "1/../..",
        "a\0",
    ]:
        with pytest.raises(ConfigError):
            plan_of(put(tiny(), f"studies.tiny.{key}", [name]))


def test_every_path_of_every_job_lies_in_the_results_folder():
    plan = plan_of(put(tiny(), "results", "re.sults/a"))
    files = [*plan.source_files(), *(result.path for result in at_every_rate(plan).results())]
    files += [plan.paths[name] for name in plan.paths.patterns]
    assert {os.path.normpath(path).startswith("re.sults/a/") for path in files} == {True}
    assert [path for path in files if ".." in Path(path).parts] == []


# --- YAML ----------------------------------------------------------------------------------

UNSAFE = {
    "a call": "results: !!python/object/apply:os.system [touch PWNED]\n",
    "an object": "results: !!python/object/new:os.system [touch PWNED]\n",
    "a name": "results: !!python/name:os.system\n",
    "a template": '__use_yte__: true\nresults: ?__import__("os").system("touch PWNED")\n',
    "a template in what is included": "include: [included.yaml]\n",
    "itself": "results: &a [*a]\n",
    "a key that is none": "? [a]\n: b\n",
    "too deep": "results: " + "[" * 5000 + "\n",
    "no text": "results: \udcff\n",
    "no number": "results: !!int x\n",
    "no time": "results: !!timestamp x\n",
}


@pytest.mark.parametrize("what", UNSAFE)
def test_what_yaml_could_run_is_refused_in_one_message_by_name(what: str, tmp_path: Path):
    (tmp_path / "included.yaml").write_text(UNSAFE["a template"])
    path = tmp_path / "foreign.yaml"
    path.write_text(UNSAFE[what], errors="surrogateescape")
    with pytest.raises(ConfigError, match=r"(foreign|included)\.yaml"):
        config.load(config.read_yaml(path), tmp_path)
    done = subprocess.run(
        [sys.executable, ROOT / "workflow/check_config.py", path], cwd=tmp_path, capture_output=True, text=True
    )
    # what a file includes is told relative to the project, in which this one doesn't stand
    assert (done.returncode, done.stdout, done.stderr.count("Mistake in config")) == (1, "", 1)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "PWNED").exists()


def test_what_is_included_is_never_evaluated_and_a_template_is_told_by_snakemake_too(tmp_path: Path):
    project = fresh(tmp_path / "project")
    foreign = yaml.safe_load(UNSAFE["a template"])
    (project.path / "foreign.yaml").write_text(yaml.safe_dump(foreign))
    project.write_config({"include": ["foreign.yaml"]})
    text = project.snakemake("-n", status=1)
    assert "foreign.yaml: has the key __use_yte__" in text
    assert not (project.path / "PWNED").exists()
    project.write_config(tiny() | {"__use_yte__": True})
    text = project.snakemake("-n", status=1)
    assert "tiny.yaml: has the key __use_yte__, with which Snakemake runs what stands in the file as Python" in text
    assert "Traceback" not in text


def test_make_run_looks_at_a_config_before_snakemake_evaluates_it(tmp_path: Path):
    project = fresh(tmp_path / "project")
    (project.path / "Makefile").write_text((ROOT / "Makefile").read_text())
    (project.path / "foreign.yaml").write_text(UNSAFE["a template"])
    command = ["make", "run", "READY=envs/requirements.txt", "CONFIG=foreign.yaml"]
    done = subprocess.run(command, cwd=project.path, env=project.environment(), capture_output=True, text=True)
    assert done.returncode
    assert "foreign.yaml: has the key __use_yte__" in done.stderr
    assert not (project.path / "PWNED").exists()
