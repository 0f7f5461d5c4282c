"""The report page as a file: one document that needs nothing else, whose data come back as they went in, whatever users call things."""
from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import graphc as gc
from graphc.cli import main
from graphc.compiled import compiled
from graphc.inspection import report
from graphc.inspection.description import describe
from graphc.inspection.report import notebook_html, read_report, report_html, write_report
from tests.fake_descriptions import fake
from tests.test_cli import MODEL
from tests.test_docs import blocks, run_page

HOSTILE = ("</script><img src=x onerror=alert(1)>", "<!-- {{script}} -->", "a\"b'c&amp;\u2028", "]]>\\u003c")
DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = Path(report.__file__).parent / "page"


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "small_model.py"
    path.write_text(MODEL)
    return str(path)


class _Tags(HTMLParser):
    """Every start tag of a document, and the texts of its scripts that a browser runs."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_data_come_back_as_they_went_in() -> None:
    description = fake(300, 4, title=HOSTILE[0], names=HOSTILE)
    assert read_report(report_html(description)) == description


def test_what_users_named_opens_no_tag() -> None:
    plain, hostile = _Tags(report_html(fake(60, 2))).tags, _Tags(report_html(fake(60, 2, title=HOSTILE[0], names=HOSTILE))).tags
    assert [tag for tag, _ in hostile] == [tag for tag, _ in plain]
    assert [tag for tag, _ in hostile].count("img") == 0


def test_the_page_refers_to_nothing_outside() -> None:
    text = report_html(fake(60, 2))
    loads = ("src", "href", "srcset", "action", "poster")
    links = [value for _, attrs in _Tags(text).tags for name, value in attrs.items() if name in loads]
    assert links == ["data:,"]
    styles = (PAGE / "report.css").read_text()
    assert not re.search(r"@import|url\(", styles)
    policies = [str(attrs["content"]) for _, attrs in _Tags(text).tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert [policy.split(";")[0] for policy in policies] == ["default-src 'none'"]


def test_scripts_never_read_text_as_html() -> None:
    for name in report.SCRIPTS:
        text = (PAGE / name).read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), name
        assert "</script" not in text
        assert "<!--" not in text


def test_scripts_fit_in_mind_and_say_what_they_are_for() -> None:
    assert {path.name for path in PAGE.glob("*.js")} == set(report.SCRIPTS)
    for name in report.SCRIPTS:
        lines = (PAGE / name).read_text().splitlines()
        assert len(lines) < 500, name
        assert lines[0].startswith("// "), name
        assert max(map(len, lines)) <= 140, name


def test_libraries_are_what_the_list_says_and_carry_their_licences() -> None:
    text, said = report_html(fake(20, 1)), (PAGE / "vendor" / "README.md").read_text()
    for name in report.LIBRARIES:
        version = re.search(rf"^\| {name}\.min\.js \| \S+ \| ([\d.]+) \|", said, re.MULTILINE)
        assert version is not None
        assert version[1] in (PAGE / "vendor" / f"{name}.min.js").read_text()
        licence = (PAGE / "vendor" / f"{name}.LICENSE").read_text()
        assert "Permission is hereby granted, free of charge" in licence
        assert licence in text


def test_ten_thousand_nodes_are_a_small_file() -> None:
    assert len(report_html(fake(10_000, 10))) < 2_000_000


def test_the_same_description_is_the_same_page() -> None:
    assert report_html(fake(60, 2)) == report_html(fake(60, 2))


def test_numbers_that_json_does_not_have_are_refused() -> None:
    description = fake(20, 1)
    description["kernels"][0]["flops"] = float("nan")
    with pytest.raises(ValueError, match="not JSON compliant"):
        report_html(description)


def test_what_is_no_report_is_not_read() -> None:
    with pytest.raises(ValueError, match="this is no report of graphc: it has no block of data named 'pieces'"):
        read_report("<html></html>")


def test_a_compilation_in_pieces_keeps_its_pieces() -> None:
    description = {"title": "two devices", "pieces": [fake(40, 2, title="/cpu:0"), fake(80, 2, title="/gpu:0")]}
    assert read_report(report_html(description)) == description


def test_a_real_compilation_is_all_there(model: str) -> None:
    executable = compiled(model)
    read = read_report(report_html(describe(executable, "small")))
    assert [stage["name"] for stage in read["stages"]] == [stage.name for stage in executable.stages]
    assert [kernel["text"] for kernel in read["kernels"]] == [kernel.text for kernel in executable.kernels]
    assert read["memory"]["arena"] == executable.memory.arena_bytes
    assert read["lines"]["small_model.py:8"] == 'y = gc.nn.softmax(gc.matmul(x, w), name="y")'


def test_a_notebook_gets_figures_and_a_frame() -> None:
    text = notebook_html(fake(60, 2, title=HOSTILE[0]))
    tags = _Tags(text).tags
    (frame,) = [attrs for tag, attrs in tags if tag == "iframe"]
    read = read_report(str(frame["srcdoc"]))
    assert read["title"] == HOSTILE[0]
    assert {kernel["assembly"] for kernel in read["kernels"]} == {""}
    assert "62 specialise → 56 simplify → 9 fuse" in text  # 60 nodes and two inputs; every tenth gone; one kernel of eight
    assert not [tag for tag, _ in tags if tag in ("img", "script")]


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"cannot write .*missing/report\.html: No such file or directory"):
        write_report(fake(20, 1), tmp_path / "missing" / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_a_profiled_page(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.html"
    assert main(["report", model, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    read = read_report(out.read_text())
    counts = rf"\d+ operations, {len(read['kernels'])} kernels, {len(read['edges'])} reasons not to fuse, profiled"
    assert re.fullmatch(rf"wrote {out}: {counts}, [\d.]+ KiB\n", said)
    assert sorted(step["kernel"] for step in read["timeline"]) == list(range(len(read["kernels"])))
    assert read["machine"]["gflops"] > 0
    assert read["version"] == gc.__version__


def test_the_command_can_leave_the_run_out(model: str, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    assert main(["report", model, "--out", str(out), "--no-profile", "--pipeline", "none"]) == 0
    read = read_report(out.read_text())
    assert read["timeline"] == []
    assert read["machine"] is None
    assert "fuse" not in [stage["name"] for stage in read["stages"]]


def test_the_page_about_reports_tells_the_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    page = DOCS / "report.md"
    run_page(page, compared=1)
    (console,) = [body for language, body in blocks(page.read_text()) if language == "console"]
    command, shown = console.splitlines()
    arguments = command.removeprefix("$ graphc ").replace("transformer", "mlp").split()  # a model that is quicker to compile
    assert main(arguments) == 0
    said = capsys.readouterr().out.strip()
    assert re.sub(r"[\d.]+", "N", said) == re.sub(r"[\d.]+", "N", shown)


def test_what_is_wrong_with_the_command_is_one_line(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
            ([model, "--out", str(tmp_path / "missing" / "a.html")], r"cannot write .*missing/a\.html: No such file or directory"),
            ([model, "--out", str(tmp_path)], r"cannot write .*: it is a folder"),
            (["nothing_such", "--out", str(tmp_path / "a.html")], r"no model 'nothing_such': give one of mlp, .*")):
        assert main(["report", *arguments]) == 2
        assert re.fullmatch(rf"graphc: {message}\n", capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ["small_model.py"]
