# What is there of the studies, and what isn't. What this reads is taken as it is; no rule makes it.
rule take_stock:
    output:
        missing=paths.file("table", table="missing"),
        completeness=paths.file("table", table="completeness"),
    log:
        f"{paths.shown}/logs/take_stock.log",
    benchmark:
        f"{paths.shown}/benchmarks/take_stock.jsonl"
    localrule: True
    conda:
        "../../envs/whypretrain.yaml"
    params:
        spec=plan.specs.claims(),
        code=plan.stage_code("take_stock"),
        there=setup.there(plan),
        # whether a result is stale depends on code that this job doesn't run
        expected=setup.code_of_results(plan),
    shell:
        "python -m whypretrain.stages.take_stock --spec {params.spec:q} --code {params.code}"
        " --missing {output.missing:q} --completeness {output.completeness:q} > {log:q} 2>&1"
