# make run    set up if needed, make all results of the default study, and the report
# make audit  which results are stale, damaged or foreign; REMOVE=1 removes the first two
# make partial  tables, figures and report of what is there of it, in results/partial; trains nothing
# make calibration  how often verdicts err, by simulation: results/benchmarks/calibration.parquet; two minutes
# make bench  how fast it is beside what it can't be faster than: results/benchmarks/bench.parquet; 15 minutes
#             SHORT=1: two minutes, and an error where a ratio is a third worse than in tests/data/bench.csv
# make test   set up if needed, check style and types, run the tests that are quick
# make test-cluster   the others: on a cluster of SLURM's daemons, with kills, and whole runs
# make test-networks  every network of torchvision, and ten of timm: their cards, treatments and modes
# make advise DATA=folder    which source, and which way of using it, is best for your own images (or DATA=photos.zip)
# Other studies: make run CONFIG=config/laptop.yaml; elsewhere than config says: RESULTS=results/other; one of them:
# make run STUDY=kernel-order, from which make run goes on
PYTHON ?= python3
CORES ?= all
# below this folder, whose own path may hold what make and shells take for more than a name
VENV := .venv
READY := $(VENV)/.ready
# the environment is active in every recipe; its programs are called as modules, since what pip writes to start them by
# fails below some paths, or runs what stands in them
export PATH := $(CURDIR)/$(VENV)/bin:$(value PATH)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
unexport PYTHONPATH
# Snakemake asks for the user's name, and for a folder to keep its cache in
export USER ?= $(shell id -un 2> /dev/null || id -u)
ifeq ($(shell cache="$${XDG_CACHE_HOME:-$$HOME/.cache}"; mkdir -p "$$cache" 2> /dev/null; test -w "$$cache" && echo yes),)
export XDG_CACHE_HOME := $(CURDIR)/.snakemake/cache
endif
# what the user gives is taken as it is, a dollar too, and reaches the shell through the environment alone, so that no
# name in it is a command
asked := PYTHON CORES CONFIG DATA RESULTS STUDY
$(foreach name,$(asked),$(eval override $(name) := $$(value $(name))))
export $(asked)
snakemake := python -m snakemake
configfile := $(if $(CONFIG),--configfile "$$CONFIG")
# --config takes all that follows, so it stands last
given := $(if $(STUDY),"study=$$STUDY") $(if $(RESULTS),"results=$$RESULTS")
settings := $(if $(STUDY)$(RESULTS),--config $(given))
shown := --config partial=true $(given)
looked := python workflow/check_config.py $(if $(CONFIG),"$$CONFIG",config/config.yaml)
# where the results are: as given, else as config says
results := $(if $(RESULTS),$$RESULTS,$$($(looked)))

.PHONY: run partial advise audit calibration bench test test-cluster test-networks check setup schema clean
.DELETE_ON_ERROR:

run: $(READY)
	@$(looked) > /dev/null
	$(snakemake) --cores "$$CORES" $(configfile) $(settings)
	@echo "The report: $(results)/report.html"

# it writes nothing that a run in progress does, so it needn't wait for its lock
partial: $(READY)
	$(snakemake) --cores "$$CORES" --nolock $(configfile) $(shown)
	@echo "The report: $(results)/partial/report.html"

advise: $(READY)
	@test -n "$$DATA" || { echo "say where the images are: make advise DATA=folder (or an archive of it)" >&2; exit 2; }
	python workflow/advise.py --cores "$$CORES" -- "$$DATA"

audit: $(READY)
	python workflow/audit.py $(configfile) $(settings) $(if $(REMOVE),--remove)

calibration: $(READY)
	snakemake --cores $(CORES) calibrate_verdicts $(configfile) $(settings)

bench: $(READY)
	python workflow/bench.py --results "$(results)" $(if $(SHORT),--short)

# two at a time; a file's tests stay together, and share what they run
test: check
	python -m pytest --numprocesses 2 --dist loadfile

test-cluster: $(READY)
	python -m pytest --numprocesses 2 --dist loadfile -m soak

# every network whose card is shipped, and ten of timm
test-networks: $(READY)
	python -m pytest --numprocesses 2 -m "networks or not networks" tests/test_networks.py

check: $(READY)
	python -m ruff check .
	python -m ruff format --check .
	python -m snakefmt --check Snakefile workflow/rules
	python -m mypy
	PYTHONPATH=workflow python -c 'from importlinter.cli import lint_imports_command as lint; lint()' --no-cache
	$(snakemake) --lint

setup: $(READY)

# made anew where the pins change; an interrupted set-up leaves no .ready and is made again
$(READY): envs/requirements.txt
	"$$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; set PYTHON=")'
	"$$PYTHON" -m venv $(VENV)
	python -m pip install --disable-pip-version-check --quiet -r envs/requirements.txt
	touch $@

# the JSON schema of the config, from its pydantic models
schema: $(READY)
	PYTHONPATH=workflow python -m whypretrain.stages.write_schema > workflow/schemas/config.schema.json

# the environment; results stay, and with them .snakemake, which knows what they were made from
clean:
	rm -rf $(VENV)
