"""How much of what TensorFlow 1 programs use graphc has: every ranked name present, missing, or another subject's.

    python -m benchmarks.coverage            the summary, and what is missing
    python -m benchmarks.coverage --all      every name by rank

`benchmarks/tf1_names.txt` holds the names and how often programs use them. A name belongs to the language (tensors, operations, gradients,
variables, layers, optimizers, sessions) unless a pattern of `SUBJECTS` says which other subject it is of.
"""
from __future__ import annotations

import argparse
import fnmatch
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import graphc as gc

NAMES = Path(__file__).with_name("tf1_names.txt")

# Subjects beside the language of operations, and the names that are theirs; the first pattern that fits counts.
SUBJECTS: dict[str, tuple[str, ...]] = {
    "control flow": ("cond", "case", "while_loop", "map_fn", "scan", "foldl", "foldr", "TensorArray", "py_func"),
    "recurrent networks": ("nn.rnn*", "nn.dynamic_rnn", "nn.bidirectional_dynamic_rnn", "nn.static_rnn", "nn.seq2seq*"),
    "Keras": ("keras*",),
    "estimators": ("estimator*", "feature_column*"),
    "reading and feeding data": (
        "data*", "train.Example", "train.Feature", "train.Features", "train.*List", "FixedLen*", "VarLenFeature", "io.FixedLenFeature",
        "parse_single_example", "python_io*", "read_file", "decode_*", "*Reader", "*Queue", "train.*_input_producer", "train.batch",
        "train.start_queue_runners", "train.QueueRunner", "train.Coordinator", "image.decode_*", "image.encode_*", "resource_loader*",
        "image.sample_distorted_bounding_box", "edit_distance"),
    "files, flags and logging": ("gfile*", "io.gfile*", "app.*", "flags.*", "logging.*", "compat.as_*"),
    "strings": ("string", "string_*"),
    "saving and restoring": (
        "train.Saver", "train.latest_checkpoint", "train.get_checkpoint_state", "train.import_meta_graph", "train.init_from_checkpoint",
        "train.list_variables", "train.checkpoint_exists", "saved_model*", "import_graph_def", "GraphDef", "NodeDef", "graph_util*"),
    "summaries and monitoring": (
        "summary*", "Summary", "scalar_summary", "train.SummaryWriter", "Print", "train.Monitored*", "train.Scaffold", "train.SessionRun*"),
    "learning rates and further optimizers": (
        "train.*_decay", "train.RMSPropOptimizer", "train.AdagradOptimizer", "train.experimental*", "OptimizerOptions"),
    "many machines": ("train.Server",),
    "testing": ("test.*",),
    "lookup tables": ("tables_initializer",),
    "TensorFlow 2": ("enable_eager_execution", "disable_eager_execution", "disable_v2_behavior", "compat.v2"),
}


@dataclass(frozen=True)
class Row:
    """One ranked name. subject: "" for the language."""

    rank: int
    name: str
    uses: int
    subject: str
    present: bool


def subject_of(name: str) -> str:
    """Which other subject `name` belongs to; "" where it is of the language."""
    return next((subject for subject, patterns in SUBJECTS.items() if any(fnmatch.fnmatchcase(name, p) for p in patterns)), "")


def has(name: str) -> bool:
    """Whether `gc.<name>` exists."""
    thing: Any = gc
    for part in name.split("."):
        if not hasattr(thing, part):
            return False
        thing = getattr(thing, part)
    return True


def rows() -> list[Row]:
    """All names, the most used first."""
    lines = [line.split() for line in NAMES.read_text().splitlines() if not line.startswith("#")]
    return [Row(rank, name, int(uses), subject_of(name), has(name)) for rank, (uses, name) in enumerate(lines, 1)]


def summary(table: list[Row]) -> str:
    """Of the language and of each other subject: names and uses present."""
    lines = [f"{'subject':40} {'names':>12} {'uses':>16}"]
    for subject in ("", *SUBJECTS):
        own = [row for row in table if row.subject == subject]
        there = [row for row in own if row.present]
        uses, all_uses = sum(row.uses for row in there), sum(row.uses for row in own)
        lines.append(_line(subject or "the language", len(there), len(own), uses, all_uses))
    present = [row for row in table if row.present]
    lines.append(_line("all", len(present), len(table), sum(row.uses for row in present), sum(row.uses for row in table)))
    return "\n".join(lines)


def _line(subject: str, names: int, of_names: int, uses: int, of_uses: int) -> str:
    return f"{subject:40} {names:>5} of {of_names:>3} {uses:>6} of {of_uses:>5}  {100 * uses / of_uses:3.0f}%"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every name by rank")
    arguments = parser.parse_args()
    table = rows()
    for row in table:
        missing = not row.present and not row.subject
        if arguments.all or missing:
            print(f"{row.rank:>4} {row.uses:>5}  tf.{row.name:45} {'present' if row.present else row.subject or 'missing'}")
    print(summary(table))


if __name__ == "__main__":
    main()
