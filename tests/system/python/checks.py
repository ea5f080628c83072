"""Comparisons that are counted, and end the script where they fail."""

import sys

made = 0


def same(what, actual, expected):
    global made
    made += 1
    if actual != expected:
        sys.exit(f"{what}: expected {expected!r}, got {actual!r}")
