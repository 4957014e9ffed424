from whypretrain.jobs.expected import MADE_FROM

from whypretrain.jobs.plan import collected_tables

# Nothing is read out of pilots but their scores.
for block in plan.seed_blocks(pilots=False):

    rule:
        name:
            f"measure_start_{block.name}"
        input:
            card=plan.card,
            target_dataset=block.dataset_of_target,
            source_dataset=block.dataset_of_source,
            starts=block.files("start"),
            untrained=block.untrained,
        output:
            measured=block.files("measured_start"),
        log:
            f"{paths.results}/logs/measure_start/{{architecture}}.{{source}}.epoch-{{epoch}}.{{treatment}}.{{span}}"
            f".{{target}}.{block.name}.log",
        benchmark:
            f"{paths.results}/benchmarks/measure_start/{{architecture}}.{{source}}.epoch-{{epoch}}.{{treatment}}.{{span}}"
            f".{{target}}.{block.name}.jsonl"
        conda:
            "../../envs/whypretrain.yaml"
        threads: plan.config.threads
        resources:
            **plan.needs("measure"),
        params:
            spec=block.start_spec,
            code=plan.stage_code("measure_start"),
        shell:
            "python -m whypretrain.stages.measure_start --spec {params.spec:q} --code {params.code}"
            " --card {input.card:q} --target_dataset {input.target_dataset:q} --source_dataset {input.source_dataset:q}"
            " --starts {input.starts:q} --untrained {input.untrained:q}"
            " --measured {output.measured:q} > {log:q} 2>&1"

    rule:
        name:
            f"measure_run_{block.name}"
        input:
            card=plan.card,
            target_dataset=block.dataset_of_target,
            source_dataset=block.dataset_of_source,
            starts=block.files("start"),
            initials=block.initials,
            finals=block.finals,
            scores=block.scores,
        output:
            measured=block.files("measured_run"),
        log:
            f"{paths.results}/logs/measure_run/{{measure}}.{{architecture}}.{{source}}.epoch-{{epoch}}.{{treatment}}"
            f".{{span}}.{{target}}.{{mode}}.{{recipe}}.lr-{{learning_rate}}.{block.name}.log",
        benchmark:
            f"{paths.results}/benchmarks/measure_run/{{measure}}.{{architecture}}.{{source}}.epoch-{{epoch}}.{{treatment}}"
            f".{{span}}.{{target}}.{{mode}}.{{recipe}}.lr-{{learning_rate}}.{block.name}.jsonl"
        conda:
            "../../envs/whypretrain.yaml"
        threads: plan.config.threads
        resources:
            **plan.needs("measure"),
        params:
            spec=block.run_spec,
            code=plan.measure_code,
        shell:
            "python -m whypretrain.stages.measure_run --spec {params.spec:q} --code {params.code}"
            " --card {input.card:q} --target_dataset {input.target_dataset:q} --source_dataset {input.source_dataset:q}"
            " --starts {input.starts:q} --initials {input.initials:q}"
            " --finals {input.finals:q} --scores {input.scores:q} --measured {output.measured:q} > {log:q} 2>&1"


# One rule for each pair: whether there is a barrier between its networks depends on what they are.
for block, pair in plan.pair_blocks():

    rule:
        name:
            f"measure_pair_{setup.identifier(pair)}_{block.name}"
        input:
            card=plan.card,
            dataset=block.dataset_of_pair,
            first=block.weights(0),
            first_scores=block.weights(0, "scores"),
            second=block.weights(1),
            second_scores=block.weights(1, "scores"),
        output:
            layers=plan.pair_outputs("pair_layers", pair, block),
            barriers=plan.pair_outputs("pair_barriers", pair, block),
        log:
            f"{paths.results}/logs/measure_pair/{{pair}}.{{architecture}}.lr-{{first_rate}}-{{second_rate}}.{block.name}.log",
        benchmark:
            f"{paths.results}/benchmarks/measure_pair/{{pair}}.{{architecture}}.lr-{{first_rate}}-{{second_rate}}.{block.name}.jsonl"
        wildcard_constraints:
            pair=pair,
        conda:
            "../../envs/whypretrain.yaml"
        threads: plan.config.threads
        resources:
            **plan.needs("measure"),
        params:
            spec=block.pair_spec,
            code=plan.stage_code("measure_pair"),
        shell:
            "python -m whypretrain.stages.measure_pair --spec {params.spec:q} --code {params.code}"
            " --card {input.card:q} --dataset {input.dataset:q} --first {input.first:q} --first_scores {input.first_scores:q}"
            " --second {input.second:q} --second_scores {input.second_scores:q} --layers {output.layers:q}"
            " --barriers {output.barriers:q} > {log:q} 2>&1"


rule collect_table:
    input:
        plan.files_of_table,
    output:
        table=paths["table"],
    log:
        f"{paths.shown}/logs/collect_table/{{table}}.log",
    benchmark:
        f"{paths.shown}/benchmarks/collect_table/{{table}}.jsonl"
    wildcard_constraints:
        table="|".join(collected_tables()),
    localrule: True
    conda:
        "../../envs/whypretrain.yaml"
    params:
        spec=plan.specs.collect,
        code=plan.stage_code("collect_table"),
    shell:
        "python -m whypretrain.stages.collect_table --spec {params.spec:q} --code {params.code}"
        " --table {output.table:q} > {log:q} 2>&1"


rule summarise_arms:
    input:
        runs=paths.file("table", table="runs"),
        selected=paths.file("table", table="selected"),
    output:
        design=paths.file("table", table="design"),
        arms=paths.file("table", table="arms"),
    log:
        f"{paths.shown}/logs/summarise_arms.log",
    benchmark:
        f"{paths.shown}/benchmarks/summarise_arms.jsonl"
    localrule: True
    conda:
        "../../envs/whypretrain.yaml"
    params:
        spec=plan.specs.collect,
        code=plan.stage_code("summarise_arms"),
    shell:
        "python -m whypretrain.stages.summarise_arms --spec {params.spec:q} --code {params.code}"
        " --runs {input.runs:q} --selected {input.selected:q} --design {output.design:q} --arms {output.arms:q} > {log:q} 2>&1"


rule contrast_arms:
    input:
        runs=paths.file("table", table="runs"),
        selected=paths.file("table", table="selected"),
    output:
        contrasts=paths.file("table", table="contrasts"),
    log:
        f"{paths.shown}/logs/contrast_arms.log",
    benchmark:
        f"{paths.shown}/benchmarks/contrast_arms.jsonl"
    localrule: True
    conda:
        "../../envs/whypretrain.yaml"
    params:
        spec=plan.specs.collect,
        code=plan.stage_code("contrast_arms"),
    shell:
        "python -m whypretrain.stages.contrast_arms --spec {params.spec:q} --code {params.code}"
        " --runs {input.runs:q} --selected {input.selected:q} --contrasts {output.contrasts:q} > {log:q} 2>&1"


rule summarise_curves:
    input:
        runs=paths.file("table", table="runs"),
        selected=paths.file("table", table="selected"),
        sources=paths.file("table", table="sources"),
    output:
        transfer=paths.file("table", table="transfer"),
        maturity=paths.file("table", table="maturity"),
        correlations=paths.file("table", table="correlations"),
        modes=paths.file("table", table="modes"),
        advice=paths.file("table", table="advice"),
    log:
        f"{paths.shown}/logs/summarise_curves.log",
    benchmark:
        f"{paths.shown}/benchmarks/summarise_curves.jsonl"
    localrule: True
    conda:
        "../../envs/whypretrain.yaml"
    params:
        spec=plan.specs.collect,
        code=plan.stage_code("summarise_curves"),
    shell:
        "python -m whypretrain.stages.summarise_curves --spec {params.spec:q} --code {params.code}"
        " --runs {input.runs:q} --selected {input.selected:q} --sources {input.sources:q}"
        " --transfer {output.transfer:q} --maturity {output.maturity:q} --correlations {output.correlations:q} --modes {output.modes:q}"
        " --advice {output.advice:q} > {log:q} 2>&1"


evidence = {name: paths.file("table", table=name) for name in MADE_FROM["verdicts"]}


rule judge_claims:
    input:
        **evidence,
        stock=plan.stock(),
    output:
        verdicts=paths.file("table", table="verdicts"),
    log:
        f"{paths.shown}/logs/judge_claims.log",
    benchmark:
        f"{paths.shown}/benchmarks/judge_claims.jsonl"
    localrule: True
    conda:
        "../../envs/whypretrain.yaml"
    params:
        spec=plan.specs.claims,
        code=plan.stage_code("judge_claims"),
    shell:
        "python -m whypretrain.stages.judge_claims --spec {params.spec:q} --code {params.code}"
        " --runs {input.runs:q} --selected {input.selected:q} --pilots {input.pilots:q}"
        " --kernels {input.kernels:q} --sources {input.sources:q} --parts {input.parts:q}"
        " --pairs {input.pairs:q} --history {input.history:q} --stock {input.stock:q} --verdicts {output.verdicts:q} > {log:q} 2>&1"


# How often verdicts stay as they are with learning rates selected again, where config asks.
rule judge_again:
    input:
        **evidence,
        stock=plan.stock(),
    output:
        stability=paths.file("table", table="stability"),
    log:
        f"{paths.shown}/logs/judge_again.log",
    benchmark:
        f"{paths.shown}/benchmarks/judge_again.jsonl"
    localrule: True
    conda:
        "../../envs/whypretrain.yaml"
    params:
        spec=plan.specs.claims,
        code=plan.stage_code("judge_again"),
    shell:
        "python -m whypretrain.stages.judge_again --spec {params.spec:q} --code {params.code}"
        " --runs {input.runs:q} --selected {input.selected:q} --pilots {input.pilots:q}"
        " --kernels {input.kernels:q} --sources {input.sources:q} --parts {input.parts:q}"
        " --pairs {input.pairs:q} --history {input.history:q} --stock {input.stock:q} --stability {output.stability:q} > {log:q} 2>&1"
