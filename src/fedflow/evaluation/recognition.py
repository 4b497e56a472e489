"""Which concepts a picture is nearest to: the test whether a model draws what it is asked for."""

from __future__ import annotations

import numpy as np


# n pictures, c concepts, s styles, d features
def nearest_concepts(features_nd: np.ndarray, prototypes_scd: np.ndarray) -> np.ndarray:
    """For each picture, all concepts from the nearest to the furthest: integers (n, c).

    `prototypes_scd` holds the features of every concept's picture in each style. The distance of a picture to
    a concept is the smallest cosine distance over the concept's styles.
    """
    pictures = _unit(features_nd)
    similarity_snc = np.stack([pictures @ _unit(prototypes_cd).T for prototypes_cd in prototypes_scd])
    ranked: np.ndarray = np.argsort(-similarity_snc.max(axis=0), axis=1, kind="stable")
    return ranked


def _unit(features_nd: np.ndarray) -> np.ndarray:
    features = np.asarray(features_nd, dtype=np.float64)
    scaled: np.ndarray = features / np.linalg.norm(features, axis=1, keepdims=True).clip(min=1e-12)
    return scaled
