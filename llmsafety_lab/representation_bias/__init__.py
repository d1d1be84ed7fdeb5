"""Representation bias."""

from llmsafety_lab.representation_bias.measures import share

__all__ = ["share"]
