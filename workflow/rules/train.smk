from whypretrain.jobs.plan import KINDS

# A job trains a block of seeds, pilots with a block of learning rates and the others with the selected one: torch's
# start-up is a third of a short run. Blocks are append-only, so a new seed or rate trains nothing that was trained before.
for block in plan.training_blocks():

    rule:
        name:
            f"train_run_{setup.identifier(block.recipe)}_{setup.identifier(block.name)}"
        input:
            card=plan.card,
            dataset=block.dataset,
            starts=expand(paths["start"], seed=block.seeds, allow_missing=True),
        output:
            **{kind: block.outputs(kind) for kind in KINDS},
            final=(block.outputs("final") if plan.config.keep_weights else temp(block.outputs("final"))),
        log:
            f"{paths.results}/logs/train_run/{block.log}.log",
        benchmark:
            f"{paths.results}/benchmarks/train_run/{block.log}.jsonl"
        priority: block.priority
        conda:
            "../../envs/whypretrain.yaml"
        threads: plan.config.threads
        resources:
            **plan.needs("train"),
        params:
            spec=block.spec,
            code=block.code,
        shell:
            "python -m whypretrain.stages.train_run --spec {params.spec:q} --code {params.code}"
            " --card {input.card:q} --dataset {input.dataset:q} --starts {input.starts:q} --history {output.history:q}"
            " --scores {output.scores:q} --kernels {output.kernels:q} --predictions {output.predictions:q}"
            " --final {output.final:q} --provenance {output.provenance:q} > {log:q} 2>&1"


# Which learning rates the others train at is known when a study's pilots are trained.
checkpoint select_rates:
    input:
        scores=plan.pilot_scores,
    output:
        selection=paths["selection"],
    log:
        f"{paths.results}/logs/select_rates/{{study}}.log",
    benchmark:
        f"{paths.results}/benchmarks/select_rates/{{study}}.jsonl"
    priority: 1000
    localrule: True
    conda:
        "../../envs/whypretrain.yaml"
    params:
        spec=plan.specs.select,
        code=plan.stage_code("select_rates"),
    shell:
        "python -m whypretrain.stages.select_rates --spec {params.spec:q} --code {params.code}"
        " --scores {input.scores:q} --selection {output.selection:q} > {log:q} 2>&1"


plan.selections.wait = lambda study: checkpoints.select_rates.get(study=study)
