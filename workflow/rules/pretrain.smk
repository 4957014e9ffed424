rule initialise_network:
    input:
        card=plan.card,
    output:
        checkpoint=paths["untrained"],
    log:
        f"{paths.results}/logs/initialise_network/{{architecture}}.s{{seed}}.log",
    benchmark:
        f"{paths.results}/benchmarks/initialise_network/{{architecture}}.s{{seed}}.jsonl"
    localrule: True
    conda:
        "../../envs/whypretrain.yaml"
    params:
        spec=plan.specs.initialise,
        code=plan.stage_code("initialise_network"),
    shell:
        "python -m whypretrain.stages.initialise_network --spec {params.spec:q} --code {params.code}"
        " --card {input.card:q} --checkpoint {output.checkpoint:q} > {log:q} 2>&1"


# Weights that somebody else trained.
rule read_weights:
    input:
        file=plan.file_of_published,
    output:
        weights=paths["published"],
    log:
        f"{paths.results}/logs/read_weights/{{pretraining}}.epoch-{{epoch}}.log",
    benchmark:
        f"{paths.results}/benchmarks/read_weights/{{pretraining}}.epoch-{{epoch}}.jsonl"
    localrule: True
    conda:
        "../../envs/whypretrain.yaml"
    params:
        spec=plan.published_spec,
        code=plan.stage_code("read_weights"),
    shell:
        "python -m whypretrain.stages.read_weights --spec {params.spec:q} --code {params.code}"
        " --file {input.file:q} --weights {output.weights:q} > {log:q} 2>&1"


# One rule for each list of checkpoints, since a rule names its outputs.
for block, pretraining in plan.pretraining_blocks():

    rule:
        name:
            f"pretrain_source_{setup.identifier(pretraining)}_{block.name}"
        input:
            card=plan.card,
            dataset=block.dataset_of_source,
            # where it starts from another source, that one's end
            parents=block.parents,
            published=block.published,
        output:
            **block.pretrained(pretraining),
        log:
            f"{paths.results}/logs/pretrain_source/{{architecture}}.{{source}}.{block.name}.log",
        benchmark:
            f"{paths.results}/benchmarks/pretrain_source/{{architecture}}.{{source}}.{block.name}.jsonl"
        wildcard_constraints:
            source="|".join(plan.sources_of(pretraining)),
        cache: shared
        conda:
            "../../envs/whypretrain.yaml"
        threads: plan.config.threads
        resources:
            **plan.needs("pretrain"),
        params:
            spec=block.pretrain_spec,
            code=plan.source_code("pretrain_source"),
        shell:
            "python -m whypretrain.stages.pretrain_source --spec {params.spec:q} --code {params.code}"
            " --card {input.card:q} --dataset {input.dataset:q} --parents {input.parents:q}"
            " --published {input.published:q} --outputs {output:q} > {log:q} 2>&1"


for block in plan.seed_blocks():

    rule:
        name:
            f"anneal_source_{block.name}"
        input:
            card=plan.card,
            dataset=block.dataset_of_source,
            checkpoints=block.files("checkpoint"),
        output:
            **block.annealed(),
        log:
            f"{paths.results}/logs/anneal_source/{{architecture}}.{{source}}.epoch-{{epoch}}.{block.name}.log",
        benchmark:
            f"{paths.results}/benchmarks/anneal_source/{{architecture}}.{{source}}.epoch-{{epoch}}.{block.name}.jsonl"
        wildcard_constraints:
            epoch="[0-9.]+",
        cache: shared
        conda:
            "../../envs/whypretrain.yaml"
        threads: plan.config.threads
        resources:
            **plan.needs("pretrain"),
        params:
            spec=block.anneal_spec,
            code=plan.source_code("anneal_source"),
        shell:
            "python -m whypretrain.stages.anneal_source --spec {params.spec:q} --code {params.code}"
            " --card {input.card:q} --dataset {input.dataset:q} --checkpoints {input.checkpoints:q} --outputs {output:q} > {log:q} 2>&1"
