# One file for all seeds, or, of what is drawn anew for each, one for each seed.
for form, seed in (("dataset", ""), ("dataset_of_seed", ".s{seed}")):

    rule:
        name:
            f"prepare_{form}"
        input:
            plan.files_of_dataset,
        output:
            dataset=paths[form],
            card=paths[form.replace("dataset", "card")],
        log:
            f"{paths.results}/logs/prepare_dataset/{{dataset}}{seed}.log",
        benchmark:
            f"{paths.results}/benchmarks/prepare_dataset/{{dataset}}{seed}.jsonl"
        wildcard_constraints:
            dataset="|".join(name for name in plan.specs.datasets() if (name in plan.grid.per_seed) == bool(seed)),
        # before all that trains: an image that can't be used is told of first; what is drawn waits until it is needed
        priority: 0 if seed else 1000000
        localrule: True
        conda:
            "../../envs/whypretrain.yaml"
        params:
            spec=plan.specs.dataset,
            code=plan.dataset_code,
        shell:
            "python -m whypretrain.stages.prepare_dataset --spec {params.spec:q} --code {params.code}"
            " --dataset {output.dataset:q} --card {output.card:q} > {log:q} 2>&1"
