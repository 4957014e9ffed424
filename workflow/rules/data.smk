rule prepare_dataset:
    input:
        plan.files_of_dataset,
    output:
        dataset=paths["dataset"],
        card=paths["card"],
    log:
        f"{paths.results}/logs/prepare_dataset/{{dataset}}.log",
    benchmark:
        f"{paths.results}/benchmarks/prepare_dataset/{{dataset}}.jsonl"
    # before all that trains: an image that can't be used is told of first
    priority: 1000000
    localrule: True
    conda:
        "../../envs/whypretrain.yaml"
    params:
        spec=plan.specs.dataset,
        code=plan.dataset_code,
    shell:
        "python -m whypretrain.stages.prepare_dataset --spec {params.spec:q} --code {params.code}"
        " --dataset {output.dataset:q} --card {output.card:q} > {log:q} 2>&1"
