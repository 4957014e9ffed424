rule treat_checkpoint:
    input:
        # the checkpoint, and for some treatments one that layers are taken from
        checkpoints=plan.checkpoints_to_treat,
    output:
        start=paths["start"],
    log:
        f"{paths.results}/logs/treat_checkpoint/" "{architecture}.{source}.s{seed}.epoch-{epoch}.{treatment}.{span}.log",
    conda:
        "../../envs/whypretrain.yaml"
    params:
        spec=plan.treat_spec,
        code=plan.treat_code,
    shell:
        "python -m whypretrain.stages.treat_checkpoint --spec {params.spec:q} --code {params.code}"
        " --checkpoints {input.checkpoints:q} --start {output.start:q} > {log:q} 2>&1"
