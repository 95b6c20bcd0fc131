"""What can be told of the methods without torch, for the workflow's plan."""

from handloom.runtime.config.methods import MethodName

WITH_SOURCE: frozenset[MethodName] = frozenset({"adda", "dagen", "regda"})
"""Methods that keep labelled samples of the source; the others are source-free."""
WITH_TARGET_LABELS: frozenset[MethodName] = frozenset({"fine_tune", "fine_tune_bn"})


def method_part(name: MethodName) -> str:
    """The settings section and the module of a method; variants of one method share them."""
    return name.removesuffix("_bn")


def method_module(name: MethodName) -> str:
    """The module of a method."""
    return f"handloom.adaptation.methods.{method_part(name)}"
