"""Comparisons that are counted, and figures to print."""

figures = {"checks": 0}


def same(what, found, expected):
    figures["checks"] += 1
    if found != expected:
        raise AssertionError(f"{what}: {found!r}, expected {expected!r}")


def holds(what, truth, context=""):
    same(f"{what} {context}", bool(truth), True)
