"""Scores of generated pictures: FID, KID with its interval, the real-versus-real floor, and the extractors."""

from fedflow.evaluation.choice import choose_extractor
from fedflow.evaluation.distances import bootstrap_interval, frechet_distance, kernel_distance, paired_interval
from fedflow.evaluation.extractor import Extractor
from fedflow.evaluation.icons_v1 import icons_v1
from fedflow.evaluation.inception import inception
from fedflow.evaluation.recognition import nearest_concepts
from fedflow.evaluation.scores import Score, halves_floor, real_floor, score
from fedflow.evaluation.summary import GalleryStrip, RoundFacts, RunSummary
from fedflow.evaluation.table import Row, write_table

__all__ = [
    "Extractor",
    "GalleryStrip",
    "RoundFacts",
    "Row",
    "RunSummary",
    "Score",
    "bootstrap_interval",
    "choose_extractor",
    "frechet_distance",
    "halves_floor",
    "icons_v1",
    "inception",
    "kernel_distance",
    "nearest_concepts",
    "paired_interval",
    "real_floor",
    "score",
    "write_table",
]
