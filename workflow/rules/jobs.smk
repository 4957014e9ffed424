# A rule for each form (workflow/whypretrain/jobs): what it reads, writes, is told and runs stands there.
for form in plan.ruled("select_rates"):

    rule:
        name:
            form.name
        input:
            **form.reading,
        output:
            **form.flagged(temp, report),
        log:
            form.log,
        benchmark:
            form.benchmark
        wildcard_constraints:
            **form.constraints,
        cache: shared and form.may_be_shared
        priority: form.priority
        localrule: not form.needs
        conda:
            "../../envs/whypretrain.yaml"
        threads: form.threads
        resources:
            **form.resources,
        params:
            stage=form.stage,
            spec=form.told,
            code=form.code,
            files=form.files,
        shell:
            "python -m whypretrain.stages.{params.stage} --spec {params.spec:q} --code {params.code} {params.files} > {log:q} 2>&1"
