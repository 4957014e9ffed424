for block in plan.seed_blocks():

    rule:
        name:
            f"treat_checkpoint_{block.name}"
        input:
            card=plan.card,
            checkpoints=block.files("checkpoint"),
            # where a treatment takes layers from, for those that do
            references=block.references,
        output:
            starts=block.files("start"),
        log:
            f"{paths.results}/logs/treat_checkpoint/{{architecture}}.{{source}}.epoch-{{epoch}}.{{treatment}}.{{span}}"
            f".{block.name}.log",
        benchmark:
            f"{paths.results}/benchmarks/treat_checkpoint/{{architecture}}.{{source}}.epoch-{{epoch}}.{{treatment}}.{{span}}"
            f".{block.name}.jsonl"
        localrule: True
        conda:
            "../../envs/whypretrain.yaml"
        params:
            spec=block.treat_spec,
            code=plan.treat_code,
        shell:
            "python -m whypretrain.stages.treat_checkpoint --spec {params.spec:q} --code {params.code}"
            " --card {input.card:q} --checkpoints {input.checkpoints:q} --references {input.references:q} --starts {output.starts:q}"
            " > {log:q} 2>&1"


# What some treatments draw kernels from; a config without a bank has no such rule.
for block in plan.bank_blocks():

    rule:
        name:
            f"pool_kernels_{block.name}"
        input:
            card=plan.card,
            checkpoints=block.banked,
        output:
            banks=block.files("bank"),
        log:
            f"{paths.results}/logs/pool_kernels/{{architecture}}.{block.name}.log",
        benchmark:
            f"{paths.results}/benchmarks/pool_kernels/{{architecture}}.{block.name}.jsonl"
        localrule: True
        conda:
            "../../envs/whypretrain.yaml"
        params:
            spec=block.bank_spec,
            code=plan.stage_code("pool_kernels"),
        shell:
            "python -m whypretrain.stages.pool_kernels --spec {params.spec:q} --code {params.code}"
            " --card {input.card:q} --checkpoints {input.checkpoints:q} --banks {output.banks:q} > {log:q} 2>&1"
