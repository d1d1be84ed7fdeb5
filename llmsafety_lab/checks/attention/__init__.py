"""The checks of the attention lab, in its order: the operation, models that use it, what can be read off its maps."""

from llmsafety_lab.checks.attention import operation  # isort: skip
from llmsafety_lab.checks.attention import decoding  # isort: skip
from llmsafety_lab.checks.attention import maps  # isort: skip

__all__ = ["decoding", "maps", "operation"]
