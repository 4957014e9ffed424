from whypretrain.planning.plan import KINDS

# A job trains a block of seeds with a block of learning rates: torch's start-up is a third of a short run.
# Blocks are append-only, so a new seed or rate trains nothing that was trained before.
for block in plan.training_blocks():

    rule:
        name:
            f"train_run_{setup.identifier(block.recipe)}_{setup.identifier(block.name)}"
        input:
            dataset=plan.dataset_of_target,
            starts=expand(paths["start"], seed=block.seeds, allow_missing=True),
        output:
            **{kind: block.outputs(kind) for kind in KINDS},
            final=(block.outputs("final") if plan.config.keep_weights else temp(block.outputs("final"))),
        log:
            f"{paths.results}/logs/train_run/{{architecture}}.{{source}}.epoch-{{epoch}}.{{treatment}}.{{span}}"
            f".{{target}}.{{mode}}.{block.recipe}.{block.name}.log",
        benchmark:
            f"{paths.results}/benchmarks/train_run/{{architecture}}.{{source}}.epoch-{{epoch}}.{{treatment}}.{{span}}"
            f".{{target}}.{{mode}}.{block.recipe}.{block.name}.jsonl"
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
            " --dataset {input.dataset:q} --starts {input.starts:q} --history {output.history:q}"
            " --scores {output.scores:q} --kernels {output.kernels:q} --predictions {output.predictions:q}"
            " --final {output.final:q} --provenance {output.provenance:q} > {log:q} 2>&1"
