rule initialise_network:
    output:
        checkpoint=paths["untrained"],
    log:
        f"{paths.results}/logs/initialise_network/{{architecture}}.s{{seed}}.log",
    conda:
        "../../envs/whypretrain.yaml"
    params:
        spec=plan.initialise_spec,
        code=plan.stage_code("initialise_network"),
    shell:
        "python -m whypretrain.stages.initialise_network --spec {params.spec:q} --code {params.code}"
        " --checkpoint {output.checkpoint:q} > {log:q} 2>&1"


# One rule for each list of checkpoints, since a rule names its outputs.
for pretraining in plan.pretrainings():

    rule:
        name:
            f"pretrain_source_{setup.identifier(pretraining)}"
        input:
            dataset=plan.dataset_of_source,
        output:
            checkpoints=expand(
                paths["checkpoint"],
                epoch=plan.checkpoints(pretraining),
                allow_missing=True,
            ),
            history=paths["source_history"],
        log:
            f"{paths.results}/logs/pretrain_source/{{architecture}}.{{source}}.s{{seed}}.log",
        wildcard_constraints:
            source="|".join(plan.sources_of(pretraining)),
        conda:
            "../../envs/whypretrain.yaml"
        threads: plan.config.threads
        params:
            spec=plan.pretrain_spec,
            code=plan.stage_code("pretrain_source"),
        shell:
            "python -m whypretrain.stages.pretrain_source --spec {params.spec:q} --code {params.code}"
            " --dataset {input.dataset:q} --checkpoints {output.checkpoints:q} --history {output.history:q}"
            " > {log:q} 2>&1"


rule anneal_source:
    input:
        dataset=plan.dataset_of_source,
        checkpoint=paths["checkpoint"],
    output:
        annealed=paths["annealed"],
        history=paths["anneal_history"],
    log:
        f"{paths.results}/logs/anneal_source/{{architecture}}.{{source}}.s{{seed}}.epoch-{{epoch}}.log",
    wildcard_constraints:
        epoch="[0-9.]+",
    conda:
        "../../envs/whypretrain.yaml"
    threads: plan.config.threads
    params:
        spec=plan.anneal_spec,
        code=plan.stage_code("anneal_source"),
    shell:
        "python -m whypretrain.stages.anneal_source --spec {params.spec:q} --code {params.code}"
        " --dataset {input.dataset:q} --checkpoint {input.checkpoint:q} --annealed {output.annealed:q}"
        " --history {output.history:q} > {log:q} 2>&1"
