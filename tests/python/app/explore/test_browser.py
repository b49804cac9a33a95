"""The explorer's page in headless Chromium: typing finds, clicking shows, nothing is complained of, also at 400 px."""

import json
import shutil
from contextlib import contextmanager

import pytest

from evaluated_runs import make_run, some_notes
from notellm.app.explore import ExploreOptions, write_explorer

pytestmark = pytest.mark.slow

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
COUNT = 120


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explorer")
    path = folder / "page.html"
    other = make_run(folder, "other", COUNT, seed=5)
    write_explorer(path, make_run(folder, "one", COUNT), other, ExploreOptions(map="pca", k=5))
    return path.as_uri()


@contextmanager
def browsing(width, height=1600):
    """A browser whose window is so large inside; afterwards its console must be empty."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    if not (BROWSER and DRIVER):
        pytest.skip("needs Chromium and its driver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        yield browser
        assert browser.get_log("browser") == []
    finally:
        browser.quit()


def all_of(browser, selector):
    return browser.find_elements("css selector", selector)


def one(browser, selector):
    return browser.find_element("css selector", selector)


def data_of(browser):
    return json.loads(one(browser, "#data").get_attribute("textContent"))


def titles(browser, selector):
    return [element.text for element in all_of(browser, selector)]


def place_of(browser, side, row):
    """Where a note's dot is on a map that shows all, from the map's centre, in pixels."""
    view = data_of(browser)["views"][1 if side == "left" else 3]
    unit = browser.execute_script(f"return document.querySelector('#{side} canvas').clientWidth") / 10800
    x, y = view["points"][2 * row : 2 * row + 2]
    return round((x - 5000) * unit), round((5000 - y) * unit)


def picture(browser, side):
    """What is painted on a map."""
    return browser.execute_script(f"return document.querySelector('#{side} canvas').toDataURL()")


def test_typing_finds(address):
    with browsing(1200) as browser:
        browser.get(address)
        search = one(browser, "#search")
        search.send_keys("creme BRULEE")  # without accents, in any case
        assert titles(browser, "#results bdi") == ["Cr\u00e8me br\u00fbl\u00e9e"]
        assert one(browser, "#count").text == "1 note"
        search.clear()
        search.send_keys("\u039f\u0394\u039f\u03a3")  # in lower case its last letter is another inside a word
        assert titles(browser, "#results bdi") == [
            "\u039f\u03b4\u03bf\u03c3\u03ae\u03bc\u03b1\u03bd\u03c3\u03b7"
        ]
        search.clear()
        search.send_keys("</script>")
        assert titles(browser, "#results bdi")[0] == "a </script><b>bold</b> title"
        assert all_of(browser, "#results b") == []
        search.clear()
        search.send_keys("plain title")
        assert one(browser, "#count").text == f"{COUNT - 8} notes, the first 50 are listed"
        assert len(all_of(browser, "#results li")) == 50
        search.send_keys(" nowhere")
        assert one(browser, "#count").text == "0 notes"


def test_the_keyboard_alone_shows_a_note(address):
    with browsing(1200) as browser:
        from selenium.webdriver.common.keys import Keys

        browser.get(address)
        one(browser, "#search").send_keys("plain title 1", Keys.ARROW_DOWN)
        browser.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
        second = browser.switch_to.active_element
        assert second.text.startswith(titles(browser, "#results bdi")[1])
        second.send_keys(Keys.ENTER)
        assert browser.switch_to.active_element.get_attribute("id") == "title"
        assert one(browser, "#title").text == titles(browser, "#results bdi")[1]


def test_clicking_a_dot_shows_its_neighbours_in_both_runs(address):
    with browsing(1200) as browser:
        from selenium.webdriver import ActionChains

        browser.get(address)
        data = data_of(browser)
        row = data["ids"].index(some_notes(COUNT).ids[20])
        canvas = one(browser, "#left canvas")
        ActionChains(browser).move_to_element_with_offset(
            canvas, *place_of(browser, "left", row)
        ).click().perform()
        assert one(browser, "#title").text == data["titles"][row]
        for side, view in enumerate((1, 3)):
            near = data["views"][view]["neighbours"][5 * row : 5 * row + 5]
            found = f"#lists .found:nth-child({side + 1}) li"
            assert titles(browser, f"{found} button") == [data["titles"][i] for i in near]
            scores = [f"{data['views'][view]['cosines'][5 * row + i] / 10_000:.3f}" for i in range(5)]
            assert titles(browser, f"{found} .cosine") == scores
        common = set(data["views"][1]["neighbours"][5 * row : 5 * row + 5]) & {
            *data["views"][3]["neighbours"][5 * row : 5 * row + 5]
        }
        assert len(all_of(browser, "#lists .found:nth-child(1) .only")) == 5 - len(common)
        one(browser, "#lists button").click()  # on to its nearest note
        nearest = data["views"][1]["neighbours"][5 * row]
        assert one(browser, "#title").text == data["titles"][nearest]
        again = browser.current_url
        browser.get("about:blank")
        browser.get(again)  # the address names the note
        assert one(browser, "#title").text == data["titles"][nearest]


def test_a_category_and_the_other_view_are_chosen(address):
    with browsing(1200) as browser:
        from selenium.webdriver.support.ui import Select

        browser.get(address)
        before = picture(browser, "left")
        tea = one(browser, "#legend button")
        assert tea.get_attribute("aria-pressed") == "false"
        tea.click()
        assert tea.get_attribute("aria-pressed") == "true"
        assert picture(browser, "left") != before
        tea.click()
        assert picture(browser, "left") == before
        select = Select(one(browser, "#left select"))
        assert [option.text for option in select.options] == [
            f"{run}, {when} training" for run in ("one", "other") for when in ("before", "after")
        ]
        select.select_by_index(0)
        assert picture(browser, "left") != before
        all_of(browser, "#left .zoom button")[0].click()
        assert one(browser, "#left canvas").get_attribute("class") == "zoomed"
        assert "Map of 120 notes, one, before training" in one(browser, "#left canvas").get_attribute(
            "aria-label"
        )


def test_a_map_is_dragged_only_while_a_button_is_pressed(address):
    """Released outside of the map, of which it hears nothing."""
    with browsing(1200) as browser:
        browser.get(address)
        all_of(browser, "#left .zoom button")[0].click()
        send = """
            const canvas = document.querySelector("#left canvas"), { x, y } = canvas.getBoundingClientRect();
            const [type, away, buttons] = arguments;
            canvas.setPointerCapture = () => {};  // there is no such pointer
            canvas.dispatchEvent(new PointerEvent(type, { clientX: x + 200 + away, clientY: y + 200, buttons }));
        """
        begin = picture(browser, "left")
        browser.execute_script(send, "pointerdown", 0, 1)
        browser.execute_script(send, "pointermove", 40, 1)
        dragged = picture(browser, "left")
        assert dragged != begin
        browser.execute_script(send, "pointermove", 80, 0)
        assert picture(browser, "left") == dragged
        browser.execute_script(send, "pointermove", 120, 1)
        assert picture(browser, "left") == dragged


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_usable_at_400_pixels(address, scheme):
    with browsing(400) as browser:
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        browser.get(address)
        one(browser, "#search").send_keys("bold")
        one(browser, "#results button").click()
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 400
        maps = [canvas.rect for canvas in all_of(browser, "canvas")]
        assert [map_["x"] for map_ in maps] == [maps[0]["x"]] * 2  # one above the other
        assert all(map_["width"] > 350 for map_ in maps)
        small = [
            button.text
            for button in all_of(browser, "#results button, .found button, .zoom button, #legend button")
            if button.is_displayed() and button.rect["height"] < 24
        ]
        assert small == []  # WCAG 2.2, 2.5.8: a finger needs 24 pixels
        assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == (
            "rgb(18, 20, 24)" if scheme == "dark" else "rgb(247, 247, 245)"
        )
