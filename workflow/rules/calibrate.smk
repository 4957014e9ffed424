# How often verdicts err, by simulation. No target of `all`: make calibration.
rule calibrate_verdicts:
    output:
        calibration=f"{paths.shown}/benchmarks/calibration.parquet",
    log:
        f"{paths.shown}/logs/calibrate_verdicts.log",
    benchmark:
        f"{paths.shown}/benchmarks/calibrate_verdicts.jsonl"
    localrule: True
    conda:
        "../../envs/whypretrain.yaml"
    params:
        spec=plan.specs.calibration,
        code=plan.stage_code("calibrate_verdicts"),
    shell:
        "python -m whypretrain.stages.calibrate_verdicts --spec {params.spec:q} --code {params.code}"
        " --calibration {output.calibration:q} > {log:q} 2>&1"
