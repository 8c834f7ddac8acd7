"""The pages in a real browser: they load without a complaint, zoom and sort."""

from __future__ import annotations

import json
import shutil

import pytest
from report_samples import run_folder, search_folder, sweep_file

from flexsim.reports.report import write_report

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="needs chromium and chromedriver on the PATH"
)
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
    "--window-size=1280,1000", "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
SAMPLES = {"run": run_folder, "search": search_folder, "sweep": sweep_file}
RANGE = "return [...document.getElementById(arguments[0]).layout[arguments[1]].range]"


@pytest.fixture(scope="module")
def browser():
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_page_load_timeout(60)
    yield driver
    driver.quit()


def opened(browser, path):
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get_log("browser")
    browser.get(path.resolve().as_uri())
    drawn = "return document.documentElement.dataset.drawn === 'yes'"
    WebDriverWait(browser, 60).until(lambda driver: driver.execute_script(drawn))


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    return {kind: write_report(make(), folder / f"{kind}.html") for kind, make in SAMPLES.items()}


@pytest.mark.parametrize("kind", list(SAMPLES))
def test_it_loads_without_a_complaint_and_draws_everything(browser, pages, kind):
    opened(browser, pages[kind])
    assert browser.get_log("browser") == []
    drawn = browser.execute_script(
        "return [...document.querySelectorAll('.drawing')].map(div =>"
        " div.querySelector('.overplot .trace, .overplot .hm') !== null)"
    )
    assert len(drawn) >= 3 and all(drawn)
    assert browser.title != "run by a name"
    fetched = "return performance.getEntriesByType('resource').map(each => each.name)"
    assert [name for name in browser.execute_script(fetched) if "://" in name] == []


@pytest.mark.parametrize("kind", list(SAMPLES))
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_screen(browser, pages, kind, width):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        opened(browser, pages[kind])
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def dragged(browser, name):
    """Drag over the second quarter of a figure's width, half-way down."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    layer = browser.find_element(By.CSS_SELECTOR, f"#{name} .nsewdrag")
    browser.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", layer
    )
    start = -layer.size["width"] // 4
    actions = ActionChains(browser, duration=50).move_to_element_with_offset(layer, start, 0)
    actions.click_and_hold().move_by_offset(-start // 2, 0).move_by_offset(start // 4, 0)
    actions.release().perform()


def wait_for(browser, what):
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 20).until(lambda driver: what())


def test_dragging_over_the_timeline_zooms_and_a_double_click_shows_all(browser, pages):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    opened(browser, pages["run"])
    name = "timeline-figure"
    before = browser.execute_script(RANGE, name, "xaxis")
    dragged(browser, name)
    wait_for(browser, lambda: browser.execute_script(RANGE, name, "xaxis") != before)
    start, end = browser.execute_script(RANGE, name, "xaxis")
    length = before[1] - before[0]
    assert start == pytest.approx(before[0] + length / 4, abs=0.03 * length)
    assert 0.02 * length < end - start < 0.2 * length
    bars = f"return document.getElementById('{name}').data[0].base.length"
    assert browser.execute_script(bars) > 0
    layer = browser.find_element(By.CSS_SELECTOR, f"#{name} .nsewdrag")
    ActionChains(browser).double_click(layer).perform()
    wait_for(browser, lambda: browser.execute_script(RANGE, name, "xaxis") == before)


def test_the_home_button_shows_all_again(browser, pages):
    from selenium.webdriver.common.by import By

    opened(browser, pages["run"])
    name = "timeline-figure"
    before = browser.execute_script(RANGE, name, "xaxis")
    dragged(browser, name)
    wait_for(browser, lambda: browser.execute_script(RANGE, name, "xaxis") != before)
    home = browser.find_element(By.CSS_SELECTOR, f"#{name} [data-title='Reset axes']")
    browser.execute_script("arguments[0].click()", home)
    wait_for(browser, lambda: browser.execute_script(RANGE, name, "xaxis") == before)


def test_many_bars_are_a_map_until_few_are_in_view(browser, tmp_path):
    folder = shutil.copytree(run_folder(), tmp_path / "run")
    lines = ["rank,kind,stage,microbatch,chunk,start_ns,end_ns"]
    for rank in (0, 1):
        for number in range(4000):
            kind = ("forward", "backward")[number % 2]
            lines.append(f"{rank},{kind},{rank},{number // 2},0,{number * 10},{number * 10 + 9}")
    text = "\n".join(lines) + "\n"
    (folder / "bubbles.csv").write_text(text)
    summary = json.loads((folder / "summary.json").read_text())
    files = {"bubbles.csv": len(text)}
    (folder / "summary.json").write_text(json.dumps(summary | {"end_ns": 40_000, "files": files}))
    opened(browser, write_report(folder, tmp_path / "many.html"))
    kind = "return document.getElementById('timeline-figure').data[0].type"
    assert browser.execute_script(kind) == "heatmap"
    dragged(browser, "timeline-figure")
    wait_for(browser, lambda: browser.execute_script(kind) == "bar")
    bars = browser.execute_script("return document.getElementById('timeline-figure').data[0].base")
    start, end = browser.execute_script(RANGE, "timeline-figure", "xaxis")
    assert 0 < len(bars) < 2500
    assert start - 0.02 < min(bars) and max(bars) < end
    assert browser.get_log("browser") == []


def column(browser, table, number):
    cells = f"#configurations table:nth-of-type({table}) td:nth-child({number})"
    return browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map(each => each.textContent)", cells
    )


def test_a_click_on_a_header_sorts_and_a_second_one_turns_it_round(browser, pages):
    from selenium.webdriver.common.by import By

    opened(browser, pages["sweep"])
    headers = browser.find_elements(By.CSS_SELECTOR, "#configurations th")
    names = [header.text for header in headers]
    place = names.index("iteration time") + 1
    assert column(browser, 1, place) == ["2.00 s", "3.00 s", "4.00 s", "1.50 s"]
    headers[place - 1].find_element(By.TAG_NAME, "button").click()
    assert column(browser, 1, place) == ["1.50 s", "2.00 s", "3.00 s", "4.00 s"]
    assert headers[place - 1].get_attribute("aria-sort") == "ascending"
    headers[place - 1].find_element(By.TAG_NAME, "button").click()
    assert column(browser, 1, place) == ["4.00 s", "3.00 s", "2.00 s", "1.50 s"]
    status = names.index("status")
    headers[status].find_element(By.TAG_NAME, "button").click()
    assert column(browser, 1, status + 1) == ["ok", "ok", "ok", "out-of-memory"]
