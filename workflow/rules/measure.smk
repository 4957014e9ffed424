for block in plan.measuring_blocks():

    rule:
        name:
            f"measure_start_{block.name}"
        input:
            datasets=plan.datasets_of_start,
            starts=expand(paths["start"], seed=block.seeds, allow_missing=True),
        output:
            measured=expand(paths["measured_start"], seed=block.seeds, allow_missing=True),
        log:
            f"{paths.results}/logs/measure_start/{{architecture}}.{{source}}.epoch-{{epoch}}.{{treatment}}.{{span}}"
            f".{{target}}.{block.name}.log",
        conda:
            "../../envs/whypretrain.yaml"
        threads: plan.config.threads
        params:
            spec=block.spec,
            code=plan.stage_code("measure_start"),
        shell:
            "python -m whypretrain.stages.measure_start --spec {params.spec:q} --code {params.code}"
            " --datasets {input.datasets:q} --starts {input.starts:q} --measured {output.measured:q}"
            " > {log:q} 2>&1"


rule collect_table:
    input:
        plan.files_of_table,
    output:
        table=paths["table"],
    log:
        f"{paths.results}/logs/collect_table/{{table}}.log",
    wildcard_constraints:
        table="sources|starts|runs|history|kernels|provenance",
    conda:
        "../../envs/whypretrain.yaml"
    params:
        spec=plan.collect_spec,
        code=plan.stage_code("collect_table"),
    shell:
        "python -m whypretrain.stages.collect_table --spec {params.spec:q} --code {params.code}"
        " --table {output.table:q} > {log:q} 2>&1"


rule summarise_arms:
    input:
        runs=paths.file("table", table="runs"),
    output:
        design=paths.file("table", table="design"),
        arms=paths.file("table", table="arms"),
    log:
        f"{paths.results}/logs/summarise_arms.log",
    conda:
        "../../envs/whypretrain.yaml"
    params:
        spec=plan.collect_spec(),
        code=plan.stage_code("summarise_arms"),
    shell:
        "python -m whypretrain.stages.summarise_arms --spec {params.spec:q} --code {params.code}"
        " --runs {input.runs:q} --design {output.design:q} --arms {output.arms:q} > {log:q} 2>&1"


rule contrast_arms:
    input:
        runs=paths.file("table", table="runs"),
    output:
        contrasts=paths.file("table", table="contrasts"),
    log:
        f"{paths.results}/logs/contrast_arms.log",
    conda:
        "../../envs/whypretrain.yaml"
    params:
        spec=plan.collect_spec(),
        code=plan.stage_code("contrast_arms"),
    shell:
        "python -m whypretrain.stages.contrast_arms --spec {params.spec:q} --code {params.code}"
        " --runs {input.runs:q} --contrasts {output.contrasts:q} > {log:q} 2>&1"


rule judge_claims:
    input:
        runs=paths.file("table", table="runs"),
        kernels=paths.file("table", table="kernels"),
    output:
        verdicts=paths.file("table", table="verdicts"),
    log:
        f"{paths.results}/logs/judge_claims.log",
    conda:
        "../../envs/whypretrain.yaml"
    params:
        spec=plan.claims_spec(),
        code=plan.stage_code("judge_claims"),
    shell:
        "python -m whypretrain.stages.judge_claims --spec {params.spec:q} --code {params.code}"
        " --runs {input.runs:q} --kernels {input.kernels:q} --verdicts {output.verdicts:q} > {log:q} 2>&1"
