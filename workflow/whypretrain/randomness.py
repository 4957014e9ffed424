"""Independent random streams, one for each purpose.

Each stream is numpy's PCG64, seeded through `numpy.random.SeedSequence` by a hash
of its purpose and keys: `stream("treatment", seed, layer)`. Streams of different
purposes, seeds or keys are independent, and none depends on what else is drawn.
"""

import hashlib
import json

import numpy as np

PURPOSES = (
    "selection-draws",  # nothing: the same for all
    "partition",  # dataset, seed
    "class-half",  # dataset, seed, classes
    "source-init",  # seed, architecture, source
    "source-order",  # seed, architecture, source, of a branch or layer also its name
    "random-labels",  # seed, source
    "scratch-init",  # seed, architecture
    "treatment",  # seed, layer
    "head",  # seed, target
    "target-subset",  # seed, target
    "target-order",  # seed, target
    "null",  # seed, layer
    "probe-images",  # seed, task; the distance of two tasks: seed, both tasks
    "matching",  # seed, pair
    "rotation",  # side of the crops, photograph
    "maximisation",  # seed
    "regulariser",  # seed, target
    "tints",  # drawing, seed: colours of textures
    "dropout",  # seed, target or source: what a network draws of itself
)


def stream(purpose: str, *keys: int | str) -> np.random.Generator:
    """Return the generator of a purpose and its keys, always in the same state."""
    if purpose not in PURPOSES:
        raise ValueError(f"unknown purpose '{purpose}'; allowed: {', '.join(PURPOSES)}")
    digest = hashlib.sha256(json.dumps([purpose, *keys]).encode()).digest()
    return np.random.default_rng(np.random.SeedSequence(int.from_bytes(digest[:16], "big")))
