"""Which samples an update takes, and their random numbers: functions of (seed, epoch, position).

Nothing here is drawn from a generator that advances: every 64-bit word is a hash of its
coordinates, so any rank, prefetch thread or resumed run can compute any part of an epoch alone and
gets the same bits on every platform and numpy version.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float64, Int64, UInt64
from numpy.typing import NDArray

from absa.errors import ConfigError

# The increment and the two multipliers of splitmix64 (Steele et al. 2014, figure 16).
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLY_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLY_2 = np.uint64(0x94D049BB133111EB)

# Domains keep the words that order an epoch apart from the keys of its positions.
_ORDER, _KEYS, _DERIVED = 1, 2, 3


def hash_words(*coordinates: int, index: NDArray[np.integer]) -> UInt64[np.ndarray, " n"]:
    """Return one random 64-bit word per index: counter-based splitmix64.

    The coordinates are folded into a starting point; the word of index i is splitmix64's output
    i + 1 steps after it.

    Args:
        coordinates: Integers in [0, 2**64) that name the stream, at least one.
        index: Integers in [0, 2**63), one-dimensional.

    Source: Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators", section 5.
    """
    words = index.astype(np.uint64)
    words *= _GAMMA
    words += _first_state(coordinates)
    return _mix(words)


@lru_cache(maxsize=64)
def _first_state(coordinates: tuple[int, ...]) -> np.uint64:
    state = np.zeros(1, dtype=np.uint64)
    for coordinate in coordinates:
        state ^= np.uint64(coordinate)
        state = _mix(state) + _GAMMA
    return np.uint64(state[0])


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Finalise in place: a bijection of 64-bit words in which every input bit flips half."""
    words ^= words >> np.uint64(30)
    words *= _MULTIPLY_1
    words ^= words >> np.uint64(27)
    words *= _MULTIPLY_2
    words ^= words >> np.uint64(31)
    return words


@lru_cache(maxsize=2)  # the epoch in use and the one that prefetching has begun
def permutation(seed: int, epoch: int, num_train: int) -> Int64[np.ndarray, " num_train"]:
    """Return the order of an epoch's samples, read-only.

    Each sample gets a random word whose low bits are replaced by its index; sorting the words
    shuffles the indices. No two words are equal, so every correct sort gives the same result.
    (At 1.28 M samples 43 bits stay random: the index breaks a tie about once in ten epochs.)

    Returns:
        Every integer in [0, num_train) once.
    """
    index_bits = np.uint64((1 << max(num_train - 1, 1).bit_length()) - 1)
    index = np.arange(num_train, dtype=np.uint64)
    words = hash_words(_ORDER, seed, epoch, index=index)
    words &= ~index_bits
    words |= index
    words.sort()
    words &= index_bits
    order = words.view(np.int64)
    order.flags.writeable = False
    return order


@dataclass(frozen=True)
class SampleOrder:
    """The order in which a run sees its training samples.

    In a loop of your own, on one rank or with every rank taking its part of ``indices``::

        order, samples = SampleOrder(seed=0, num_train=len(x)), 0
        while samples < 10 * len(x):
            epoch, start, stop = next_range(samples, global_batch, len(x))
            indices = order.indices(epoch, start, stop)
            ...
            samples += stop - start

    ``samples`` is then all that a resumed loop needs to know.

    Args:
        seed: In [0, 2**64).
        num_train: Number of training samples, at least one.

    Raises:
        ConfigError: The seed or the number of samples is out of range.
    """

    seed: int
    num_train: int

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**64:
            raise ConfigError(f"seed: {self.seed} is out of range; allowed: 0 to 2**64 - 1")
        if self.num_train < 1:
            raise ConfigError(f"the training data has {self.num_train} samples; at least 1 needed")

    def indices(self, epoch: int, start: int, stop: int) -> Int64[np.ndarray, " n"]:
        """Return the samples at positions ``start`` to ``stop`` (excluded) of an epoch.

        Raises:
            IndexError: The positions are not within the epoch.
        """
        self._check(start, stop)
        return permutation(self.seed, epoch, self.num_train)[start:stop].copy()

    def keys(self, epoch: int, start: int, stop: int) -> UInt64[np.ndarray, " n"]:
        """Return a random word for each of these positions, whatever sample stands there.

        Raises:
            IndexError: The positions are not within the epoch.
        """
        self._check(start, stop)
        return hash_words(_KEYS, self.seed, epoch, index=np.arange(start, stop))

    def _check(self, start: int, stop: int) -> None:
        if not 0 <= start <= stop <= self.num_train:
            raise IndexError(f"positions {start} to {stop} are not within 0 to {self.num_train}")


def uniform(keys: NDArray[np.uint64], stream: int) -> Float64[np.ndarray, " n"]:
    """Return a number in [0, 1) per key, with 53 random bits.

    Args:
        keys: From `SampleOrder.keys`.
        stream: Which of the sample's random numbers: different streams are independent.
    """
    return (_derive(keys, stream) >> np.uint64(11)) * 2.0**-53


def integers(keys: NDArray[np.uint64], stream: int, bound: int) -> Int64[np.ndarray, " n"]:
    """Return an integer in [0, bound) per key.

    The upper 32 bits are multiplied by the bound: no value is off its probability by more than
    ``bound / 2**32`` of it.

    Args:
        keys: From `SampleOrder.keys`.
        stream: Which of the sample's random numbers: different streams are independent.
        bound: In [1, 2**31].

    Raises:
        ValueError: The bound is out of range.

    Source: Lemire 2018, arXiv:1805.10941, section 4, without the rejection step.
    """
    if not 1 <= bound <= 1 << 31:
        raise ValueError(f"bound is {bound}; allowed: 1 to 2**31")
    high = _derive(keys, stream) >> np.uint64(32)
    return ((high * np.uint64(bound)) >> np.uint64(32)).view(np.int64)


def _derive(keys: NDArray[np.uint64], stream: int) -> NDArray[np.uint64]:
    return _mix(keys + _stream_offset(stream))


@lru_cache(maxsize=64)
def _stream_offset(stream: int) -> np.uint64:
    return np.uint64(hash_words(_DERIVED, stream, index=np.zeros(1, dtype=np.int64))[0])


def position_of(samples: int, num_train: int) -> tuple[int, int]:
    """Return the epoch and the position in it after so many samples."""
    return divmod(samples, num_train)


def next_range(samples: int, global_batch: int, num_train: int) -> tuple[int, int, int]:
    """Return (epoch, start, stop): the positions that the next update takes.

    An update never crosses an epoch, so the last one of an epoch may be short.

    Args:
        samples: Consumed so far.
        global_batch: Samples of an update, at least one.
        num_train: Samples of an epoch.
    """
    epoch, start = position_of(samples, num_train)
    return epoch, start, min(start + global_batch, num_train)
