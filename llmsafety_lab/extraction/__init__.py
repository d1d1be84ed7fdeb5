"""Extraction."""

from llmsafety_lab.extraction.measures import share

__all__ = ["share"]
