"""What the command line writes: tables line up, numbers read well, the progress bar is lively on a terminal and brief in a log."""
from __future__ import annotations

import io

import pytest

from graphc.terminal import Progress, bytes_text, seconds_text, table


def test_table_aligns_text_left_and_numbers_right() -> None:
    rows = [["relu", 12, "1.5 KiB"], ["softmax", 1234, "-"]]
    assert table(rows, ["kernel", "flops", "bytes"], indent=0).splitlines() == [
        "kernel   flops    bytes",
        "───────  ─────  ───────",
        "relu        12  1.5 KiB",
        "softmax   1234        -",
    ]
    assert table([]) == ""
    assert table([["a"], ["bb", 1]], indent=0).splitlines() == ["a", "bb  1"]


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 20, "1.0 MiB"), (5 << 40, "5.0 TiB")])
def test_bytes(count: int, text: str) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(12.3, "12.3 s"), (0.0123, "12.3 ms"), (1.23e-5, "12.3 us"), (3e-8, "0.03 us"), (2000, "2000 s")]
)
def test_seconds(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_in_a_log_is_one_line() -> None:
    log = io.StringIO()
    with Progress("training", 40, log) as bar:
        for step in range(40):
            bar.advance(f"loss {step}")
    (line,) = log.getvalue().splitlines()
    assert line.startswith("training 40/40")
    assert line.endswith("loss 39")


def test_progress_on_a_terminal_redraws_and_ends_full() -> None:
    screen = Terminal()
    with Progress("training", 4, screen) as bar:
        assert list(bar.over(range(4))) == [0, 1, 2, 3]
    first, *_, last = screen.getvalue().split("\r")[1:]
    assert "░" * 28 in first
    assert "█" * 28 in last
    assert "4/4" in last
    assert last.endswith("\n")


def test_progress_of_nothing_is_done() -> None:
    screen = Terminal()
    with Progress("empty", 0, screen):
        pass
    assert "0/0" in screen.getvalue()
