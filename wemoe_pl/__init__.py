"""Merge fine-tuned vision transformers into one, by weight-ensembling mixtures of experts."""

__version__ = "0.1.0"
