"""The report: it holds for any study, says what the tables say, and a browser shows it without asking for anything."""

import json
import os
import re
import shutil
import urllib.parse
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from figure_looks import drawn, svg
from test_figures import CASES, DIFFERENT, FULL, as_read, tables_of_case

from whypretrain.figures.plotting import choice
from whypretrain.figures.plotting.view import View
from whypretrain.files import schemas
from whypretrain.files.origins import BLANK, read_origin, sealed
from whypretrain.pages.board import MARKS, forest
from whypretrain.stages import write_report

HOSTILE = "<script>alert('x')</script> Größe $x$ {{ 7 * 7 }} \"--> ü→\" & <b>j</b>"
Tables = dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def full() -> Tables:
    return tables_of_case("two architectures, two settings")


def verdicts_of(text: str, count: int = 3) -> pd.DataFrame:
    """Return rows of verdicts, each kind in turn; every second one has no interval."""
    rows = [
        {
            **{"claim": f"G{number}", "paper": ("Golikov", "Deng")[number % 2], "study": "order"},
            **{"setting": "different", "statement": text, "test": "superiority", "one_source": False},
            **{"component": text, "n": 5, "effect": 0.01 * number - 0.1216, "high": 0.0567},
            **{"low": (-0.187, np.nan)[number % 2], "coverage": 0.95, "p": 0.5, "margin": 0.05},
            **{"unit": ("points", "of cosine")[number % 2], "verdict": list(MARKS)[number % 3], "reason": text},
        }
        for number in range(count)
    ]
    return as_read(schemas.check_table("verdicts", pd.DataFrame(rows)))


def advice_of(text: str) -> pd.DataFrame:
    row = {
        **{"study": "order", "setting": text, "architecture": "shallow", "target": text, "shots": "5"},
        **{"source": text, "family": "svm-L", "mode": "svm-4", "recipe": "none", "learning_rate": np.nan},
        **{"grid_edge": False, "expected": 0.871, "low": 0.85, "high": 0.89, "n": 5, "compared": 7},
        **{"largest_class": 0.2, "balanced": 0.86, "balanced_low": 0.84, "balanced_high": 0.88, "classes": 5},
        **{"learnt": True, "not_worse": f"finetune of {text}"},
    }
    return as_read(schemas.check_table("advice", pd.DataFrame([row])))


def spec_of(text: str, view: View) -> dict[str, Any]:
    """Return what the report is told: a study with claims and figures, and one without."""
    figures = [{"name": "accuracy-by-span", "tables": ["arms", "runs"]}]
    shown = {"question": text, "view": vars(view) | {"title": text}, "advice": True, "figures": figures}
    other = shown | {"view": vars(view) | {"study": "another", "title": text}, "advice": False, "figures": []}
    studies = {"order": {"claims": [f"G{n}" for n in range(3)], "title": text}, "another": {"claims": []}}
    blocks = {"seed_blocks": [[0, 1, 2]], "pilot_blocks": [[100]]}
    config = {"studies": studies, "claims": {f"G{n}": {"statement": text} for n in range(3)}, **blocks}
    return {"studies": [shown, other], "config": config, "versions": {"torch": "1.0"}}


def page_of(
    folder: Path, text: str, view: View, tables: Tables, verdicts: pd.DataFrame | None = None, *partial: pd.DataFrame
) -> str:
    """Write a page into a folder as results have it, and return it."""
    empty = {name: schemas.check_table(name, pd.DataFrame()) for name in write_report.READ if name not in tables}
    given = {**empty, **tables, "verdicts": verdicts_of(text) if verdicts is None else verdicts}
    given["advice"] = advice_of(text)
    spec = spec_of(text, view)
    figure = folder / "figures/order/accuracy-by-span.svg"
    figure.parent.mkdir(parents=True, exist_ok=True)
    figure.write_bytes(svg(drawn("accuracy-by-span", tables, view)))
    told = {"spec": json.dumps(spec, ensure_ascii=False), "code": "c", "inputs": "i", "seal": BLANK.decode()}
    made = write_report.page(spec, given, {("order", "accuracy-by-span"): str(figure)}, partial, told)
    (folder / "report.html").write_bytes(sealed(made.encode()))
    return made


@pytest.mark.parametrize("text", [HOSTILE, "a *b* `c` |d| _e_ .. f:: {% h %} {# i #} \\ http://k.l", "", "x\n\n  y"])
def test_a_page_shows_any_text_as_it_is_and_says_what_made_it(text: str, full: Tables, tmp_path: Path) -> None:
    page = page_of(tmp_path, text, FULL, full)
    words = " ".join(unescape(page).split())
    assert words.count(" ".join(text.split())) >= 4  # titles, questions, statements, reasons
    assert page.count("<script") == 1
    assert "<b>j" not in page
    told = json.loads(read_origin(tmp_path / "report.html").spec)
    assert told == json.loads(json.dumps(spec_of(text, FULL)))


def test_a_page_gives_effects_in_their_units_and_what_to_do_where_that_is_asked(full: Tables, tmp_path: Path) -> None:
    page = " ".join(page_of(tmp_path, "glyphs", FULL, full).split())
    assert "−12.2 points" in page
    assert "−18.7 to 5.7, 95 %; margin 5.0" in page
    assert "−0.112 of cosine" in page
    assert "no interval; margin 0.050" in page
    intact = choice.treated(choice.in_panel(full["arms"], FULL, "shallow", choice.Setting(**DIFFERENT)), "intact")
    assert f"{100 * intact['top1_test'].iloc[0]:.1f} (" in page
    assert page.count("What to do") == 1  # one of the two studies draws the mode map
    said = "With 5 images per class of glyphs, from glyphs: classify the features of layer 4 with an SVM"
    assert f"{said} (svm-4, network shallow), expected 0.87 (0.85 to 0.89, n = 5) of test images right" in page
    assert "3 verdicts: 1 supported, 1 contradicted and 1 inconclusive." in page


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("claims", [0, 1, 100])
def test_a_page_is_written_for_any_study(case: str, claims: int, tmp_path: Path) -> None:
    tables = tables_of_case(case)
    page = page_of(tmp_path, "Order", CASES[case][0], tables, verdicts_of("Order", claims))
    assert page.count("<svg") == claims
    words = re.sub(r'"data:[^"]*"|<style>.*?</style>|<pre.*?</pre>', "", page, flags=re.DOTALL)
    assert not re.search(r"\b(nan|None)\b", words)


def test_a_page_holds_where_no_run_is_there_or_all_diverged(full: Tables, tmp_path: Path) -> None:
    none = {name: table.iloc[:0] for name, table in full.items()}
    assert "No run of this study is there." in page_of(tmp_path, "Order", FULL, none, verdicts_of("", 0))
    arms = full["arms"].assign(diverged=full["arms"]["n"])
    page = page_of(tmp_path, "Order", FULL, {**full, "arms": arms})
    assert f"{arms.loc[arms['study'] == 'order', 'n'].sum()} runs diverged" in page


def test_a_page_of_a_partial_run_says_so_on_top(full: Tables, tmp_path: Path) -> None:
    arms = full["arms"].drop_duplicates(write_report.ARM_KEYS)
    counts = {"runs": 3, "runs_there": 1, "seeds": 3, "seeds_there": 1}
    completeness = arms[["study", *write_report.ARM_KEYS]].assign(**counts)
    missing = schemas.check_table("missing", pd.DataFrame())
    page = page_of(tmp_path, "Order", FULL, full, None, missing, completeness)
    assert page.index("PARTIAL: ") < page.index("What was asked")
    assert f"And {len(completeness) - write_report.LISTED} more" in page


@pytest.mark.parametrize(
    ("limits", "margin", "drawn_at"),
    [
        ((-0.01, 0.02, 0.05), 0.01, (70, 130, 170, True)),
        ((-1.0, -0.5, 0.0), 0.01, (10, 10, 90, False)),
        ((-1.0, 0.5, 1.0), np.nan, (10, 130, 170, False)),
    ],
)
def test_an_interval_is_drawn_in_margins(limits: tuple[float, ...], margin: float, drawn_at: tuple[Any, ...]) -> None:
    low, effect, high = limits
    found = forest({"low": low, "effect": effect, "high": high, "margin": margin, "test": "superiority"})
    assert (found["low"], found["effect"], found["high"], found["cut_high"]) == drawn_at
    assert found["margins"] == ([110.0] if margin == margin else [])


# --- in a browser ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, without a window."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        if os.environ.get("WHYPRETRAIN_REQUIRE_BROWSER") == "1":
            pytest.fail("chromium and chromedriver are asked for, but not installed")
        pytest.skip("no chromium, or no chromedriver, here")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield found
    found.quit()


def asked_for(browser: Any) -> list[str]:
    """Return the addresses that the page asked for since the last call, but for what it holds itself."""
    events = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    sent = (event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent")
    return [url for url in sent if not url.startswith("data:")]


VISIBLE = "return [...document.querySelectorAll('#board tbody tr[id]')].map(row => row.className + ' ' + row.id)"


@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_the_report_from_disk(browser: Any, full: Tables, tmp_path: Path, width: int) -> None:
    page_of(tmp_path, HOSTILE, FULL, full, verdicts_of(HOSTILE, 9))
    tables = tmp_path / "tables"
    tables.mkdir()
    for name in (*full, "verdicts", "advice"):
        (tables / f"{name}.parquet").touch()
    (tmp_path / "figures/order/accuracy-by-span.png").touch()
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    address = (tmp_path / "report.html").as_uri()
    browser.get(address)
    run = browser.execute_script
    assert run("return document.documentElement.scrollWidth") <= width
    assert len(run(VISIBLE)) == 9
    assert run("return [...document.images].every(each => each.naturalWidth > 99 && each.alt.length > 20)")
    forests = "return [...document.querySelectorAll('.forest')].every(each => each.getBoundingClientRect().width > 99)"
    assert run(forests)

    choose = "const s = document.querySelector(arguments[0]); s.value = arguments[1]; "
    choose += "s.dispatchEvent(new Event('change'))"
    verdict = '[data-filter="1"]'
    run(choose, verdict, "supported")
    assert [row.split()[0] for row in run(VISIBLE)] == ["supported"] * 3
    assert run("return document.querySelector('#shown').textContent") == "3 of 9 shown"
    run(choose, verdict, "")
    run(choose, "[data-sort]", "4 desc")
    # within each paper, which stand in the order of their names
    assert [int(row.split("-")[1]) for row in run(VISIBLE)] == [8, 6, 4, 2, 9, 7, 5, 3, 1]

    run("location.hash = 'numbers-order-verdicts'")
    browser.execute_async_script("setTimeout(arguments[0], 50)")
    assert run("return document.getElementById('numbers-order-verdicts').open")
    links = run("return [...document.querySelectorAll('a[href]')].map(link => link.getAttribute('href'))")
    assert len(links) > 30
    for link in links:
        if link.startswith("#"):
            assert run("return document.getElementById(arguments[0]) !== null", link[1:]), link
        elif not link.startswith("data:"):
            assert (tmp_path / urllib.parse.unquote(link)).exists(), link
    assert browser.get_log("browser") == []
    assert {url.split("#")[0] for url in asked_for(browser)} == {address}


def test_any_page_of_snakemakes_own_report_can_be_scrolled_to_its_top() -> None:
    profile: dict[str, Any] = __import__("yaml").safe_load((ROOT / "profiles/default/config.yaml").read_text())
    assert "safe center" in (ROOT / profile["report-stylesheet"]).read_text()
