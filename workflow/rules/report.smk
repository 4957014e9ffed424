# One rule for each figure: each has a caption and reads tables of its own.
for figure in plan.figures.names():

    rule:
        name:
            f"plot_{setup.identifier(figure)}"
        input:
            tables=plan.figures.tables(figure),
            weights=plan.figures.weights(figure),
            selection=plan.figures.selection(figure),
            stock=plan.stock(),
        output:
            svg=report(
                paths.open("figure_svg", figure=figure),
                caption=f"../report/{figure}.rst",
                category=plan.figures.category(),
                labels={"figure": figure.replace("-", " ")},
            ),
            png=paths.open("figure_png", figure=figure),
        log:
            f"{paths.shown}/logs/plot_figure/{{study}}.{figure}.log",
        benchmark:
            f"{paths.shown}/benchmarks/plot_figure/{{study}}.{figure}.jsonl"
        localrule: True
        conda:
            "../../envs/whypretrain.yaml"
        params:
            spec=plan.figures.spec(figure),
            code=plan.figure_code(figure),
        shell:
            "python -m whypretrain.stages.plot_figure --spec {params.spec:q} --code {params.code}"
            " --tables {input.tables:q} --weights {input.weights:q} --stock {input.stock:q} --svg {output.svg:q} --png {output.png:q}"
            " > {log:q} 2>&1"


# For studies with a mode map: what to do, in plain sentences.
rule write_advice:
    input:
        advice=paths.file("table", table="advice"),
        provenance=paths.file("table", table="provenance"),
        stock=plan.stock(),
    output:
        text=paths["advice"],
    log:
        f"{paths.shown}/logs/write_advice.log",
    benchmark:
        f"{paths.shown}/benchmarks/write_advice.jsonl"
    localrule: True
    conda:
        "../../envs/whypretrain.yaml"
    params:
        spec=plan.figures.advice_spec,
        code=plan.stage_code("write_advice"),
    shell:
        "python -m whypretrain.stages.write_advice --spec {params.spec:q} --code {params.code}"
        " --advice {input.advice:q} --provenance {input.provenance:q} --stock {input.stock:q}"
        " --text {output.text:q} > {log:q} 2>&1"


# The main page of the report: what was asked and what came out.
rule write_summary:
    input:
        verdicts=paths.file("table", table="verdicts"),
        arms=paths.file("table", table="arms"),
        sources=paths.file("table", table="sources"),
        advice=paths.file("table", table="advice"),
        stock=plan.stock(),
    output:
        summary=paths["summary"],
    log:
        f"{paths.shown}/logs/write_summary.log",
    benchmark:
        f"{paths.shown}/benchmarks/write_summary.jsonl"
    localrule: True
    conda:
        "../../envs/whypretrain.yaml"
    params:
        spec=plan.figures.summary_spec,
        code=plan.stage_code("write_summary"),
    shell:
        "python -m whypretrain.stages.write_summary --spec {params.spec:q} --code {params.code}"
        " --verdicts {input.verdicts:q} --arms {input.arms:q} --sources {input.sources:q} --advice {input.advice:q}"
        " --stock {input.stock:q} --summary {output.summary:q} > {log:q} 2>&1"
