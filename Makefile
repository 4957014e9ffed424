# make run    set up if needed, make all results of the default study, and the report
# make audit  which results are stale, damaged or foreign; REMOVE=1 removes the first two
# make partial  tables, figures and report of what is there of it, in results/partial; trains nothing
# make calibration  how often verdicts err, by simulation: results/benchmarks/calibration.parquet; two minutes
# make test   set up if needed, check style and types, run all tests
# make advise DATA=folder    which source, and which way of using it, is best for your own images (or DATA=photos.zip)
# Other studies: make run CONFIG=config/laptop.yaml; elsewhere than config says: RESULTS=results/other; fewer seeds:
# make run SEEDS=[[0,1,2]]
PYTHON ?= python3
CORES ?= all
VENV := $(CURDIR)/.venv
READY := $(VENV)/.ready
# the environment is active in every recipe
export PATH := $(VENV)/bin:$(PATH)
export VIRTUAL_ENV := $(VENV)
# what the user gives reaches the shell through the environment alone, so that no name in it is a command
export CONFIG DATA RESULTS SEEDS
configfile := $(if $(CONFIG),--configfile "$$CONFIG")
# --config takes all that follows, so it stands last
given := $(if $(SEEDS),"seed_blocks=$$SEEDS") $(if $(RESULTS),"results=$$RESULTS")
settings := $(if $(SEEDS)$(RESULTS),--config $(given))
shown := --config partial=true $(given)
looked := python workflow/check_config.py $(if $(CONFIG),"$$CONFIG",config/config.yaml)
# where the results are: as given, else as config says
results := $(if $(RESULTS),$$RESULTS,$$($(looked)))

.PHONY: run partial advise audit calibration test check setup schema clean
.DELETE_ON_ERROR:

run: $(READY)
	@$(looked) > /dev/null
	snakemake --cores $(CORES) $(configfile) $(settings)
	snakemake $(configfile) --report "$(results)/report.html" $(settings)

# it writes nothing that a run in progress does, so it needn't wait for its lock
partial: $(READY)
	snakemake --cores $(CORES) --nolock $(configfile) $(shown)
	snakemake --nolock $(configfile) --report "$(results)/partial/report.html" $(shown)

advise: $(READY)
	@test -n "$$DATA" || { echo "say where the images are: make advise DATA=folder (or an archive of it)" >&2; exit 2; }
	python workflow/advise.py --cores $(CORES) -- "$$DATA"

audit: $(READY)
	python workflow/audit.py $(configfile) $(settings) $(if $(REMOVE),--remove)

calibration: $(READY)
	snakemake --cores $(CORES) calibrate_verdicts $(configfile) $(settings)

# two at a time; a file's tests stay together, and share what they run
test: check
	pytest --numprocesses 2 --dist loadfile

check: $(READY)
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow/rules
	mypy
	snakemake --lint

setup: $(READY)

# made anew where the pins change; an interrupted set-up leaves no .ready and is made again
$(READY): envs/requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --disable-pip-version-check --quiet -r envs/requirements.txt
	touch $@

# the JSON schema of the config, from its pydantic models
schema: $(READY)
	PYTHONPATH=workflow python -m whypretrain.stages.write_schema > workflow/schemas/config.schema.json

# the environment; results stay, and with them .snakemake, which knows what they were made from
clean:
	rm -rf $(VENV)
