# One rule for each figure: each has a caption and a place in the report.
for form in plan.forms_of("plot_figure"):

    rule:
        name:
            form.name
        input:
            **form.reading,
        output:
            svg=report(
                form.writing["svg"],
                caption=f"../report/{form.figure}.rst",
                category=form.category,
                labels={"figure": form.figure.replace("-", " ")},
            ),
            png=form.writing["png"],
        log:
            form.log,
        benchmark:
            form.benchmark
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
