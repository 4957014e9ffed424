rule prepare_dataset:
    output:
        dataset=paths["dataset"],
        card=paths["card"],
    log:
        f"{paths.results}/logs/prepare_dataset/{{dataset}}.log",
    params:
        spec=plan.dataset_spec,
        code=plan.dataset_code,
    conda:
        "../../envs/whypretrain.yaml"
    shell:
        "python -m whypretrain.stages.prepare_dataset --spec {params.spec:q} --code {params.code}"
        " --dataset {output.dataset:q} --card {output.card:q} > {log:q} 2>&1"
