"""The report page in a real browser: every view draws what the description says, links reach every state, nothing complains, and nothing
goes to a network.

`--update-golden` makes the pictures of docs/report.md anew.
"""
from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import graphc as gc
from graphc.inspection.report import notebook_html, write_report
from graphc.report import described
from tests import browser
from tests.browser import Browser
from tests.fake_descriptions import REASONS, fake
from tests.test_report import HOSTILE

pytestmark = [pytest.mark.browser, pytest.mark.skipif(browser.installed() is None, reason="no chromium is installed")]

PICTURES = Path(__file__).resolve().parent.parent / "docs" / "pictures"
# What docs/report.md shows, by view.
SHOTS = {
    "overview": "", "graph": "view=graph&stage=simplify&find=block_1/mix/attention/softmax&at=2", "passes": "view=diff&stage=simplify",
    "diff": "view=diff&stage=simplify&mode=graph", "kernels": "view=kernels&kernel=3", "separations": "view=edges", "memory": "view=memory",
    "timeline": "view=timeline", "source": "view=source&line=transformer.py:56"}
# 120 computed nodes and two inputs: "simplify" removes 12 and replaces 12, "fuse" makes 14 kernels of eight, the last of four.
COUNT = 120


@pytest.fixture(scope="module")
def page() -> Iterator[Browser]:
    with Browser(1280, 760) as opened:
        yield opened


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    return fake(COUNT, 3)


@pytest.fixture(scope="module")
def small(description: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "small.html"
    write_report(description, path)
    return path


@pytest.fixture(autouse=True)
def _nothing_complains(page: Browser) -> Iterator[None]:
    page.problems.clear()
    page.requests.clear()
    yield
    assert page.problems == []
    assert [url for url in page.requests if not url.startswith(("file:", "data:", "about:", "blob:"))] == []


def boxes(page: Browser) -> dict[str, tuple[float, float]]:
    """The boxes of the graph that is shown: label -> place in the window."""
    found: list[list[Any]] = page.evaluate("""() => {
        const sheet = document.querySelector('.sheet'), at = sheet.getBoundingClientRect();
        const place = (node) => [at.x + node.renderedPosition().x, at.y + node.renderedPosition().y];
        return sheet._cyreg.cy.nodes(':childless').map((node) => [node.data('label').replace('\\n', ' '), ...place(node)]);
    }""")
    return {label: (x, y) for label, x, y in found}


def rows(page: Browser, selector: str = "tbody tr") -> list[list[str]]:
    return [text.split("\t") for text in page.texts(selector)]


def test_the_overview_counts_everything(page: Browser, small: Path) -> None:
    page.open(small)
    assert rows(page, ".columns > div section:last-child tbody tr") == [["computed by kernels", "60 "]]
    assert page.texts("h1") == ["a fake model cpu · graphc 0.0.0"]
    assert page.texts(".figure .value")[:3] == ["60", "122 → 16", "14"]
    assert page.texts(".columns > div section:first-child tbody td:first-child") == ["specialise", "simplify", "split", "fuse", "order"]
    outcomes = page.texts(".columns > div section:first-child tbody td:last-child")
    assert outcomes[2] == "unchanged"
    assert outcomes[3] == "14 fused"
    assert outcomes[4] == "failed ValueError: no order fits"
    assert {"12 removed", "12 replaced"} <= set(outcomes[1].split(", "))
    assert page.texts(".warnings li") == ["order failed: ValueError: no order fits"]


@pytest.mark.parametrize("view", ["overview", "graph", "diff", "kernels", "edges", "memory", "timeline", "source"])
def test_every_view_can_be_linked_to(page: Browser, small: Path, view: str) -> None:
    page.open(small, f"view={view}")
    assert page.count("#tabs a[aria-current]") == 1
    assert page.evaluate("() => document.querySelector('#tabs a[aria-current]').dataset.view") == view
    assert page.evaluate("() => document.getElementById('view').innerText.length") > 50
    assert page.count("#view .empty") == 0


def test_a_graph_folds_and_unfolds(page: Browser, small: Path) -> None:
    page.open(small, "view=graph")
    page.evaluate("() => [...document.querySelectorAll('button')].find((b) => b.textContent === 'Fold all').click()")
    page.wait("document.querySelector('.sheet').dataset.boxes === '5'")
    shut = boxes(page)  # 60 operations in scopes of 27, two nodes each, and the two inputs
    assert set(shut) == {"parameter images", "variable_read dense/kernel", "▸ block_0 54 nodes", "▸ block_1 54 nodes",
                         "▸ block_2/query_0 12 nodes"}
    page.click_at(*shut["▸ block_2/query_0 12 nodes"])
    page.wait("document.querySelector('.sheet').dataset.boxes === '6'")
    assert {"▸ key_0 6 nodes", "▸ key_1 6 nodes", "▸ block_0 54 nodes"} <= set(boxes(page))
    assert page.evaluate("() => new URLSearchParams(location.hash.slice(1)).get('open')") == "block_2%2Fquery_0"


def test_merged_edges_say_how_many_they_are(page: Browser, small: Path, description: dict[str, Any]) -> None:
    page.open(small, "view=graph&fold=block_0,block_1,block_2%252Fquery_0")
    nodes = description["stages"][0]["nodes"]
    names = [description["operations"][node["operations"][0]]["name"] if node["operations"] else "" for node in nodes]
    expected = sum(names[node["id"]].startswith("block_1/") and names[operand].startswith("block_0/")
                   for node in nodes for operand in node["operands"])
    found = page.evaluate("""() => {
        const joins = (edge) => edge.source().data('label').includes('block_0') && edge.target().data('label').includes('block_1');
        return document.querySelector('.sheet')._cyreg.cy.edges().filter(joins).map((edge) => edge.data('label'));
    }""")
    assert found == [str(expected)]


def test_search_finds_by_number_operation_line_and_kind(page: Browser, small: Path) -> None:
    page.open(small, "view=graph")
    for text, count in (("%2517", 1), ("MatMul_7%20", 2), ("dot_general", 12), ("train.py:15%20add", 2), ("nothing%20such", 0)):
        page.go(f"view=graph&find={text}")
        assert page.texts(".hits") == [f"{count} found"], text


def test_the_next_match_is_unfolded_and_chosen(page: Browser, small: Path) -> None:
    page.open(small, "view=graph&fold=block_0,block_1,block_2%252Fquery_0&find=MatMul_31")
    before = len(boxes(page))
    page.press("n")
    page.wait("document.querySelector('.hits').textContent === '1 of 2'")
    assert len(boxes(page)) > before
    chosen = page.evaluate("() => document.querySelector('.sheet')._cyreg.cy.nodes('.chosen').map((n) => n.data('label'))")
    assert chosen == ["maximum\nf32[64,128]"]  # operation 31 computes nodes 62 and 63: the third primitive, and the fourth


def test_kinds_can_be_hidden(page: Browser, small: Path) -> None:
    page.open(small, "view=graph&hide=view,product")
    assert page.texts(".seen")[0].endswith("for 86 nodes")  # of 122: 24 views, 12 products
    page.open(small, "view=graph&hide=none")
    assert page.texts(".seen")[0].endswith("for 122 nodes")


def test_the_panel_of_a_node_says_everything(page: Browser, small: Path, description: dict[str, Any]) -> None:
    page.open(small, "view=graph&stage=specialise&node=8")  # position 6 of the first ten: replaced
    text = page.texts("#panel")[0]
    operation = description["operations"][3]
    for words in ("%8 divide after specialise", "%7 reduce_sum", operation["name"], "train.py:13", description["lines"]["train.py:13"],
                  operation["fate"], "replaced divide_by_constant: x / c = x * (1 / c) into %8"):
        assert words in text, words
    page.press("Escape")
    assert page.evaluate("() => document.getElementById('panel').hidden")


def test_a_node_is_chosen_by_a_click(page: Browser, small: Path) -> None:
    page.open(small, "view=graph&fold=block_0,block_1,block_2")
    page.click_at(*boxes(page)["parameter images"])
    page.wait("!document.getElementById('panel').hidden")
    assert "%0 parameter" in page.texts("#panel h3")[0]


def test_a_pass_is_a_list_by_rule(page: Browser, small: Path) -> None:
    page.open(small, "view=diff&stage=simplify&hide=none")
    groups = page.texts(".group summary")
    assert [" ".join(words.split()) for words in groups[:2]] == [
        "removed multiply_by_one x * 1 = x × 12", "replaced divide_by_constant x / c = x * (1 / c) × 12"]
    assert page.count(".change.removed") == 12
    assert page.count(".change.replaced") == 12
    page.open(small, "view=diff&stage=simplify&hide=removed,rebuilt")
    assert (page.count(".change.removed"), page.count(".change.replaced")) == (0, 12)


def test_a_pass_that_failed_says_so(page: Browser, small: Path) -> None:
    page.open(small, "view=diff&stage=order")
    assert "ValueError: no order fits: the program went on as it was before this pass." in page.texts(".changes .problem")[0]


def test_the_graph_of_a_pass_shows_both_programs(page: Browser, small: Path) -> None:
    page.open(small, "view=diff&stage=simplify&mode=graph&all=1")
    assert page.texts(".seen")[0].endswith("for 134 nodes")  # 122, and 12 that took the place of others
    page.open(small, "view=diff&stage=fuse&mode=graph&all=1")
    assert page.texts(".seen")[0].endswith("for 110 nodes")  # what was there before, inside its kernels
    assert page.evaluate("() => document.querySelector('.sheet')._cyreg.cy.edges('.becomes').length") == 0


def test_the_texts_of_a_pass_are_compared(page: Browser, small: Path) -> None:
    page.open(small, "view=diff&stage=simplify&mode=text&lines=unified")
    removed, added = page.count(".only.removed"), page.count(".only.added")
    assert removed - added == 12
    assert 0 < added <= 24
    page.open(small, "view=diff&stage=simplify&mode=text")
    assert page.count(".pair .removed") == removed


def test_kernels_are_sorted_and_shown(page: Browser, small: Path, description: dict[str, Any]) -> None:
    page.open(small, "view=kernels&sort=-4&kernel=3&code=assembly")
    times = [float(row[3].split()[0]) for row in rows(page)]
    assert times == sorted((kernel["measured_us"] for kernel in description["kernels"]), reverse=True)
    assert page.count(".roofline circle") == 14
    assert page.count("tr.chosen") == 1
    assert description["kernels"][3]["name"] in page.texts("#panel h3")[0]
    assert "vmovups" in page.texts("#panel pre")[0]
    assert "# rows" in page.texts("#panel pre .comment")[0]
    page.go("view=kernels&kernel=3&code=code")
    assert "define void @" in page.texts("#panel pre")[0]


def test_every_edge_has_its_reason(page: Browser, small: Path, description: dict[str, Any]) -> None:
    page.open(small, "view=edges")
    assert page.count("#view > div:last-child tbody tr") == len(description["edges"])
    assert set(page.texts("#view > div:last-child tbody td:last-child")) == {REASONS[1], REASONS[3]}  # kernels n and n + 1: odd sums
    assert {row[0].split(" … ")[-1] for row in rows(page, "#view > .scroll tbody tr")} >= {f"{REASONS[3]} in other words"}
    first = page.texts("#view > .scroll tbody button")[0]
    page.click("#view > .scroll tbody button")
    same = [edge for edge in description["edges"] if edge["why"].startswith(first.split("…")[0])]
    assert page.count("#view > div:last-child tbody tr") == len(same)


def test_the_memory_map_shows_buffers_and_the_peak(page: Browser, small: Path, description: dict[str, Any]) -> None:
    page.open(small, "view=memory")
    assert page.count("rect.buffer") == len(description["memory"]["buffers"]) == 14
    assert page.count("rect.buffer.alive") == len(description["memory"]["peak"]["live"]) == 3
    assert page.texts("text.bound") == ["least possible 83.5 KiB"]
    page.open(small, "view=memory&kernel=0")
    assert page.count("rect.buffer.alive") == 1


def test_the_timeline_zooms(page: Browser, small: Path) -> None:
    page.open(small, "view=timeline")
    assert page.count("rect.launch") == 14
    page.evaluate("() => [...document.querySelectorAll('button')].find((b) => b.textContent === 'Zoom in').click()")
    zoomed = page.count("rect.launch")
    assert 0 < zoomed < 14
    page.open(small, page.evaluate("() => location.hash.slice(1)"))
    assert page.count("rect.launch") == zoomed
    page.click("rect.launch")
    page.wait("document.querySelector('#panel:not([hidden]) h3')")


def test_a_line_leads_to_operations_and_kernels(page: Browser, small: Path, description: dict[str, Any]) -> None:
    page.open(small, "view=source&line=train.py:12")
    assert page.count("tr.chosen") == 1
    of_line = [operation for operation in description["operations"] if operation["line"] == "train.py:12"]
    text = page.texts("#panel")[0]
    assert all(operation["name"] in text for operation in of_line)
    assert all(description["kernels"][kernel]["name"] in text for operation in of_line for kernel in operation["kernels"])
    page.go("view=source&find=MatMul_59")
    assert len(rows(page)) == 1


def test_keys_lead_around(page: Browser, small: Path) -> None:
    page.open(small)
    page.press("2")
    page.wait("document.querySelector('.sheet')?.dataset.boxes")
    page.press("/")
    assert page.evaluate("() => document.activeElement.type") == "search"
    page.press("4")  # typed, not obeyed
    assert page.evaluate("() => document.activeElement.value") == "4"


def test_hostile_names_stay_text(page: Browser, tmp_path: Path) -> None:
    path = tmp_path / "hostile.html"
    write_report(fake(60, 2, title=HOSTILE[0], names=HOSTILE), path)
    for view in ("", "view=graph&hide=none", "view=diff", "view=diff&mode=text", "view=kernels&kernel=0", "view=edges", "view=memory",
                 "view=timeline", "view=source&operation=0"):
        page.open(path, view)
        assert HOSTILE[0] in page.texts("h1")[0]
        assert page.count("img, #view script") == 0
    assert HOSTILE[0] in page.texts("#panel h3")[0]


def test_ten_thousand_nodes_open(page: Browser, tmp_path: Path) -> None:
    path = tmp_path / "large.html"
    write_report(fake(10_000, 10), path)
    page.open(path, "view=graph")
    assert 10 <= int(page.evaluate("() => document.querySelector('.sheet').dataset.boxes")) <= 60
    assert page.texts(".seen")[0].endswith("for 10,002 nodes")
    scopes = ",".join(f"block_0/query_{a}/key_{b}/value_{c}" for a in range(3) for b in range(3) for c in range(3))
    page.go(f"view=graph&open={scopes}")
    assert int(page.evaluate("() => document.querySelector('.sheet').dataset.boxes")) <= 400
    page.go("view=graph&find=MatMul_4321&at=0")
    assert page.texts(".hits") == ["1 of 2"]
    assert page.evaluate("() => document.querySelector('.sheet')._cyreg.cy.nodes('.chosen').length") == 1


def test_a_graph_without_scopes_is_shown_in_ranges(page: Browser, tmp_path: Path) -> None:
    path = tmp_path / "flat.html"
    write_report(fake(2_000, 0), path)
    page.open(path, "view=graph")
    assert int(page.evaluate("() => document.querySelector('.sheet').dataset.boxes")) <= 60


def test_a_compilation_of_nothing_says_so(page: Browser, tmp_path: Path) -> None:
    path = tmp_path / "nothing.html"
    stage = {"name": "specialise", "ms": 0.0, "problem": "", "changed": True, "text": "program {\n  return\n}", "nodes": [], "changes": [],
             "rules": {}}
    memory = {"arena": 0, "lower_bound": 0, "unplanned": 0, "buffers": [], "peak": {"at": 0, "live": []}, "variables": []}
    write_report({**fake(2, 1), "operations": [], "stages": [stage], "kernels": [], "edges": [], "memory": memory, "timeline": [],
                  "machine": None, "warnings": [], "signature": {"fetches": [], "feeds": []}}, path)
    page.open(path)
    for view, words in (("overview", "Nothing is fed."), ("diff", "No pass changed this program."), ("kernels", "No kernel."),
                        ("graph", "0 boxes for 0 nodes"), ("edges", "No kernel hands a value to another."),
                        ("timeline", "This run was not profiled."),
                        ("memory", "No value has to wait in memory: the arena is empty."), ("source", "No operation matches.")):
        page.go(f"view={view}")
        assert words in page.texts("#view")[0]


def test_pieces_are_chosen(page: Browser, tmp_path: Path) -> None:
    path = tmp_path / "pieces.html"
    write_report({"title": "two devices", "pieces": [fake(40, 2, title="/cpu:0"), fake(80, 2, title="/gpu:0")]}, path)
    page.open(path, "piece=1")
    assert page.texts(".figure .value")[1].startswith("82 →")
    page.open(path)
    assert page.texts(".figure .value")[1].startswith("42 →")
    assert page.texts("h1 option") == ["/cpu:0", "/gpu:0"]


def test_a_notebook_shows_the_page_in_a_frame(page: Browser, tmp_path: Path, description: dict[str, Any]) -> None:
    path = tmp_path / "notebook.html"
    path.write_text("<!DOCTYPE html>" + notebook_html(description).replace("<details>", "<details open>"))
    page.call("Page.navigate", url=path.as_uri())
    page.wait("document.querySelector('iframe')?.contentDocument?.documentElement?.dataset.ready")
    page.evaluate("() => document.querySelector('iframe').contentDocument.querySelector('#tabs a[data-view=kernels]').click()")
    page.wait("document.querySelector('iframe').contentDocument.querySelectorAll('.roofline circle').length === 14")
    assert page.evaluate("() => location.href") == path.as_uri()


def test_dark_is_dark(small: Path) -> None:
    with Browser(dark=True) as dark:
        dark.open(small, "view=graph")
        assert dark.evaluate("() => getComputedStyle(document.documentElement).backgroundColor") == "rgb(22, 24, 27)"
        assert dark.problems == []


def test_a_transformer_is_explained_and_drawn(page: Browser, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Every kernel has lines of the user's, every edge a reason; the pictures of docs/report.md show something."""
    description = described("transformer", gc.ConfigProto(), profiled=True)
    assert all(kernel["lines"] and kernel["operations"] for kernel in description["kernels"])
    assert all(edge["why"] for edge in description["edges"])
    path = tmp_path / "transformer.html"
    write_report(description, path)
    folder = PICTURES if request.config.getoption("--update-golden") else tmp_path
    for name, view in SHOTS.items():
        page.open(path, view)
        picture = folder / f"report-{name}.png"
        page.screenshot(picture)
        assert colours(picture) > 12, name
        assert (PICTURES / picture.name).exists()


def colours(path: Path) -> int:
    """How many different bytes the rows of a PNG have after their filters: few in a blank picture."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at, packed = 8, b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        packed += data[at + 8:at + 8 + length] if kind == b"IDAT" else b""
        at += 12 + length
    return len(set(zlib.decompress(packed)))
