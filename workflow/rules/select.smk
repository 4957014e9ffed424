# Which learning rates the others train at is known when a study's pilots are trained.
form = plan.form("select_rates")


checkpoint select_rates:
    input:
        **form.reading,
    output:
        **form.writing,
    log:
        form.log,
    benchmark:
        form.benchmark
    priority: form.priority
    localrule: True
    conda:
        "../../envs/whypretrain.yaml"
    params:
        stage=form.stage,
        spec=form.told,
        code=form.code,
        files=form.files,
    shell:
        "python -m whypretrain.stages.{params.stage} --spec {params.spec:q} --code {params.code} {params.files} > {log:q} 2>&1"


plan.selections.wait = lambda study: checkpoints.select_rates.get(study=study)
