"""Anonymization."""

from llmsafety_lab.anonymization.measures import share

__all__ = ["share"]
