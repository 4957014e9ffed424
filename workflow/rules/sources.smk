# Sources may be shared with others (--cache): then each output has a name, and no parameter holds a path.
for form in [*plan.forms_of("pretrain_source"), *plan.forms_of("anneal_source")]:

    rule:
        name:
            form.name
        input:
            **form.reading,
        output:
            **form.writing,
        log:
            form.log,
        benchmark:
            form.benchmark
        wildcard_constraints:
            **form.constraints,
        cache: shared
        conda:
            "../../envs/whypretrain.yaml"
        threads: form.threads
        resources:
            **form.resources,
        params:
            stage=form.stage,
            spec=form.told,
            code=form.code,
        shell:
            "python -m whypretrain.stages.{params.stage} --spec {params.spec:q} --code {params.code} --in card {input.card:q}"
            " --in dataset {input.dataset:q} --in parents {input.parents:q} --in published {input.published:q}"
            " --in checkpoints {input.checkpoints:q} --out outputs {output:q} > {log:q} 2>&1"
