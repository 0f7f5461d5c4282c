"""Candidate samplers and the losses built upon them: `nce_loss` and `sampled_softmax_loss` train a classifier of very many classes on few.

A sampler draws classes and says how often each class, sampled or true, is to be expected among them. Without replacement (`unique`), each
class is given the time of its first arrival in a Poisson process of its probability, and the earliest ones are taken: the same distribution
as drawing again and again and leaving out what was drawn before. The time t of the last one is, in the mean, how many draws that takes, and
class i is expected among t draws with probability 1 - (1 - p_i)^t.
"""
from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from graphc.core import dtypes
from graphc.core.operation import Tensor
from graphc.ops.array import expand_dims, range_, reshape, shape, stop_gradient
from graphc.ops.choosing import where
from graphc.ops.creation import fill, ones, ones_like, zeros_like
from graphc.ops.declare import as_tensor, name_scope
from graphc.ops.elementwise import cast, equal, exp, expm1, floor, log, log1p, minimum, multiply
from graphc.ops.embedding import embedding_lookup
from graphc.ops.entropy import sigmoid_cross_entropy_with_logits, softmax_cross_entropy_with_logits_v2
from graphc.ops.gathering import gather
from graphc.ops.joining import concat
from graphc.ops.linear import matmul
from graphc.ops.ordering import searchsorted, top_k
from graphc.ops.random import random_uniform
from graphc.ops.reductions import reduce_any, reduce_sum
from graphc.ops.selecting import places as positions_where

LONG, F32, F64 = dtypes.int64, dtypes.float32, dtypes.float64
ACCIDENT = -float(np.finfo(np.float32).max)  # the weight of an accidental hit


class Candidates(NamedTuple):
    """sampled_candidates: int64 [num_sampled]. The other two float32: how often each true class [batch, num_true] and each sampled one
    [num_sampled] is expected among the sampled."""

    sampled_candidates: Tensor
    true_expected_count: Tensor
    sampled_expected_count: Tensor


def _sampled(true_classes: Any, num_true: int, num_sampled: int, unique: bool, range_max: int, probability: Callable[[Tensor], Tensor],
             draw: Callable[[], Tensor], seed: int | None, name: str | None, default: str) -> Candidates:
    """probability: float64 classes -> float64. draw: `num_sampled` classes with replacement."""
    if num_true < 1 or num_sampled < 1 or range_max < 1:
        raise ValueError(f"{default} needs num_true, num_sampled and range_max of at least 1, not {num_true}, {num_sampled}, {range_max}")
    if unique and num_sampled > range_max:
        raise ValueError(f"Sampler's range is too small: {num_sampled} unique classes of {range_max}")
    with name_scope(name, default, [true_classes]):
        true = as_tensor(true_classes, LONG, "true_classes")
        if true.shape_tuple is not None and (len(true.shape_tuple) != 2 or true.shape_tuple[1] not in (None, num_true)):
            raise ValueError(f"true_classes must have shape [batch, {num_true}], not {true.shape}")

        def expected(classes: Tensor, tries: Any) -> Tensor:
            p = probability(cast(classes, F64))
            return cast(-expm1(log1p(-p) * tries) if unique else p * tries, F32)
        if unique:
            everyone = cast(range_(range_max), F64)
            arrivals = -log1p(-random_uniform([range_max], dtype=F64, seed=seed)) / probability(everyone)
            first, sampled = top_k(-arrivals, num_sampled)
            sampled, tries = cast(sampled, LONG), -first[num_sampled - 1]
        else:
            sampled, tries = draw(), as_tensor(float(num_sampled), F64)
        sampled = stop_gradient(sampled)
        return Candidates(sampled, expected(true, tries), expected(sampled, tries))


def log_uniform_candidate_sampler(true_classes: Any, num_true: int, num_sampled: int, unique: bool, range_max: int,
                                  seed: int | None = None, name: str | None = None) -> Candidates:
    """Draws class c in [0, range_max) with probability (log(c + 2) - log(c + 1)) / log(range_max + 1): Zipf's law for sorted words."""
    def draw() -> Tensor:
        u = random_uniform([num_sampled], dtype=F64, seed=seed)
        return minimum(cast(floor(exp(u * math.log(range_max + 1))), LONG) - 1, range_max - 1)
    return _sampled(true_classes, num_true, num_sampled, unique, range_max,
                    lambda c: log1p(1.0 / (c + 1.0)) * (1 / math.log(range_max + 1)), draw, seed, name, "LogUniformCandidateSampler")


def uniform_candidate_sampler(true_classes: Any, num_true: int, num_sampled: int, unique: bool, range_max: int, seed: int | None = None,
                              name: str | None = None) -> Candidates:
    """Draws classes in [0, range_max), all equally likely."""
    return _sampled(true_classes, num_true, num_sampled, unique, range_max, lambda c: ones_like(c) * (1 / range_max),
                    lambda: random_uniform([num_sampled], maxval=range_max, dtype=LONG, seed=seed), seed, name, "UniformCandidateSampler")


def fixed_unigram_candidate_sampler(true_classes: Any, num_true: int, num_sampled: int, unique: bool, range_max: int, vocab_file: str = "",
                                    distortion: float = 1.0, num_reserved_ids: int = 0, num_shards: int = 1, shard: int = 0,
                                    unigrams: Sequence[float] = (), seed: int | None = None, name: str | None = None) -> Candidates:
    """Draws classes with probability proportional to weight ** distortion.

    unigrams: the weights of the classes from `num_reserved_ids` on, or vocab_file: a CSV file with them in its last column. Reserved ones
    are never drawn. num_shards, shard: only every num_shards-th class from `shard` on. ValueError where the weights are not `range_max`.
    """
    if bool(vocab_file) == bool(len(unigrams)):
        raise ValueError("Exactly one of vocab_file and unigrams must be given.")
    if vocab_file:
        with Path(vocab_file).open(newline="") as lines:
            unigrams = [float(row[-1]) for row in csv.reader(lines) if row]
    weights = np.concatenate([np.zeros(num_reserved_ids), np.asarray(unigrams, np.float64) ** distortion])
    if len(weights) != range_max:
        raise ValueError(f"there must be a weight for each class: {len(weights)} with the reserved ones, range_max is {range_max}")
    weights = np.where(np.arange(range_max) % num_shards == shard, weights, 0)
    total = weights.sum()
    if unique and num_sampled > np.count_nonzero(weights):
        raise ValueError(f"Sampler's range is too small: {num_sampled} unique classes of {np.count_nonzero(weights)} with a weight")

    def draw() -> Tensor:
        u = random_uniform([num_sampled], dtype=F64, seed=seed)
        return cast(searchsorted(as_tensor(np.cumsum(weights) / total), u, side="right"), LONG)
    return _sampled(true_classes, num_true, num_sampled, unique, range_max,
                    lambda c: gather(as_tensor(weights / total), cast(c, LONG)), draw, seed, name, "FixedUnigramCandidateSampler")


def all_candidate_sampler(true_classes: Any, num_true: int, num_sampled: int, unique: bool, seed: int | None = None,
                          name: str | None = None) -> Candidates:
    """Every class in [0, num_sampled) once: for tests, or to compare a sampled loss with the whole one."""
    with name_scope(name, "AllCandidateSampler", [true_classes]):
        true = as_tensor(true_classes, LONG, "true_classes")
        return Candidates(cast(range_(num_sampled), LONG), cast(ones_like(true), F32), ones([num_sampled]))


def compute_accidental_hits(true_classes: Any, sampled_candidates: Any, num_true: int, seed: int | None = None,
                            name: str | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Where a sampled class is a true one: rows int32 [hits], positions among the sampled int64 [hits], and weights of -FLT_MAX [hits]."""
    with name_scope(name, "ComputeAccidentalHits", [true_classes, sampled_candidates]):
        found = positions_where(_hits(as_tensor(true_classes, LONG), as_tensor(sampled_candidates, LONG)))
        return cast(found[:, 0], dtypes.int32), found[:, 1], fill(shape(found)[:1], ACCIDENT)


def _hits(true: Tensor, sampled: Tensor) -> Tensor:
    """Whether each sampled class is one of the true classes of each row: [batch, sampled]."""
    return reduce_any(equal(expand_dims(true, 2), reshape(sampled, [1, 1, -1])), 1)


# Losses ----------------------------------------------------------------------------------------------------------------------------------

def _sampled_logits(weights: Any, biases: Any, labels: Any, inputs: Any, num_sampled: int, num_classes: int, num_true: int,
                    sampled_values: Any, remove_accidental_hits: bool, partition_strategy: str, seed: int | None) -> tuple[Tensor, Tensor]:
    """(logits, labels), each [batch, num_true + num_sampled]: the true classes first, log(expected count) taken off."""
    labels = as_tensor(labels)
    if not labels.dtype.is_integer:
        raise TypeError(f"labels must be integers, not {labels.dtype.name}")
    labels = cast(labels, LONG)
    if labels.rank not in (None, 2):
        raise ValueError(f"labels must have shape [batch, num_true], not {labels.shape}")
    sampled, true_count, sampled_count = map(as_tensor, sampled_values or log_uniform_candidate_sampler(
        labels, num_true, num_sampled, True, num_classes, seed))
    sampled = cast(sampled, LONG)
    inputs, ids = as_tensor(inputs), concat([reshape(labels, [-1]), sampled], 0)
    rows = cast(embedding_lookup(weights, ids, partition_strategy), inputs.dtype)
    offsets = cast(embedding_lookup(biases, ids, partition_strategy), inputs.dtype)
    count = shape(labels)[0] * num_true
    true_rows = reshape(rows[:count], [-1, num_true, shape(rows)[1]])
    true_logits = reduce_sum(multiply(expand_dims(inputs, 1), true_rows), 2) + reshape(offsets[:count], [-1, num_true])
    logits = matmul(inputs, rows[count:], transpose_b=True) + offsets[count:]
    if remove_accidental_hits:
        logits += where(_hits(labels, sampled), fill(shape(logits), as_tensor(ACCIDENT, logits.dtype)), zeros_like(logits))
    true_logits -= log(cast(stop_gradient(true_count), inputs.dtype))
    logits -= log(cast(stop_gradient(sampled_count), inputs.dtype))
    return concat([true_logits, logits], 1), concat([ones_like(true_logits) / num_true, zeros_like(logits)], 1)


def nce_loss(weights: Any, biases: Any, labels: Any, inputs: Any, num_sampled: int, num_classes: int, num_true: int = 1,
             sampled_values: Any = None, remove_accidental_hits: bool = False, partition_strategy: str = "mod",
             name: str = "nce_loss") -> Tensor:
    """Noise-contrastive estimation, [batch]: M. Gutmann and A. Hyvarinen, AISTATS 2010. Of each row the true classes against sampled ones.

    weights: [num_classes, dim], or a list of parts. biases: [num_classes]. labels: int64 [batch, num_true]. inputs: [batch, dim].
    sampled_values: what a candidate sampler gives (default: log-uniform, unique).
    """
    with name_scope(name, "nce_loss", [labels, inputs]):
        logits, targets = _sampled_logits(weights, biases, labels, inputs, num_sampled, num_classes, num_true, sampled_values,
                                          remove_accidental_hits, partition_strategy, None)
        return reduce_sum(sigmoid_cross_entropy_with_logits(labels=targets, logits=logits), 1)


def sampled_softmax_loss(weights: Any, biases: Any, labels: Any, inputs: Any, num_sampled: int, num_classes: int, num_true: int = 1,
                         sampled_values: Any = None, remove_accidental_hits: bool = True, partition_strategy: str = "mod",
                         name: str = "sampled_softmax_loss", seed: int | None = None) -> Tensor:
    """The softmax cross entropy over the true and some sampled classes, [batch]: S. Jean et al., ACL 2015, section 3. For training.

    Arguments as `nce_loss`.
    """
    with name_scope(name, "sampled_softmax_loss", [labels, inputs]):
        logits, targets = _sampled_logits(weights, biases, labels, inputs, num_sampled, num_classes, num_true, sampled_values,
                                          remove_accidental_hits, partition_strategy, seed)
        return softmax_cross_entropy_with_logits_v2(labels=stop_gradient(targets), logits=logits)
