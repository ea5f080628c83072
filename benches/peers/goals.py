"""Sets what the appliance is to reach, in figures of one run on two cores; `then` is what comes after that."""

from dataclasses import dataclass
from statistics import median

import idle

APPLIANCE = "appliance"


@dataclass(frozen=True)
class Ratio:
    """A figure of the appliance, in one of its ways to run, as a multiple of another peer's."""

    workload: str
    other: str
    bound: float
    then: float
    figure: str = "per_second"
    at_least: bool = True
    peer: str = APPLIANCE

    def __str__(self):
        known = {"per_second": "requests/s", "cpu_ms": "processor time"}
        what = known.get(self.figure, self.figure.removesuffix("_ms"))
        who = self.workload if self.peer == APPLIANCE else f"{self.workload}, {self.peer}"
        return f"{who}: {what} {'≥' if self.at_least else '≤'} {self.bound:g} × {self.other}"

    def value(self, measured):
        ratios = measured.ratios(self.figure, self.workload, self.peer, self.other)
        return median(ratios) if ratios else None

    def is_met(self, value):
        return value >= self.bound if self.at_least else value <= self.bound


class AtMost:
    """A goal whose figure may not be larger than its bound."""

    def is_met(self, value):
        return value <= self.bound


@dataclass(frozen=True)
class Between(AtMost):
    """The appliance's processor time at one workload, as a multiple of that at another, within each round."""

    workload: str
    other: str
    bound: float
    then: float

    def __str__(self):
        return f"{self.workload}: processor time ≤ {self.bound:g} × {self.other}"

    def value(self, measured):
        mine, theirs = measured.rows[self.workload, APPLIANCE], measured.rows[self.other, APPLIANCE]
        ratios = [mine[number]["cpu_ms"] / theirs[number]["cpu_ms"] for number in mine if number in theirs]
        return median(ratios) if ratios else None


@dataclass(frozen=True)
class Limit(AtMost):
    """The largest of a figure's medians over some workloads."""

    title: str
    workloads: tuple
    figure: str
    bound: float
    then: float

    def __str__(self):
        return f"{self.title} ≤ {self.bound:g}"

    def value(self, measured):
        of = [found for name in self.workloads if (found := measured.values(self.figure, name, APPLIANCE))]
        return max(map(median, of)) if of else None


@dataclass(frozen=True)
class Idle(AtMost):
    """The memory of the appliance with idle connections."""

    connections: int
    bound: float
    then: float

    def __str__(self):
        return f"MiB with {self.connections:,} idle connections ≤ {self.bound:g}"

    def value(self, measured):
        return idle.mib(measured, APPLIANCE, self.connections)


@dataclass(frozen=True)
class Size(AtMost):
    """The static binary's."""

    bound: float
    then: float

    def __str__(self):
        return f"static binary, MiB ≤ {self.bound:g}"

    def value(self, measured):
        return measured.binary_mib


SMALL = ("get16", "get64", "get256")
OBJECTS = ("object256m", "object256m4")
GOALS = [
    # The figures that vary least come first.
    *(Ratio(name, "nginx", 0.9, 0.8, "cpu_ms", at_least=False) for name in SMALL),
    Ratio("churn", "nginx", 1.0, 0.9, "cpu_ms", at_least=False),
    *(Ratio(name, "nginx", 1.0, 0.8, "cpu_ms", at_least=False) for name in OBJECTS),
    Between("targets50", "targets1", 1.05, 1.02),
    *(Ratio(name, "nginx", 0.8, 0.7, "p99_ms", at_least=False) for name in SMALL),
    *(Ratio(name, "nginx", 1.0, 1.2) for name in SMALL),
    *(Ratio(name, "envoy", 3.0, 4.0) for name in SMALL),
    *(Ratio(name, "awslabs", 10.0, 15.0) for name in SMALL),
    *(Ratio(name, "flask-session", 25.0, 60.0) for name in SMALL),
    Ratio("put256m", "nginx", 2.5, 3.0),
    Ratio("put256m", "nginx", 2.5, 3.0, peer="appliance-unsigned"),
    *(Ratio(name, "nginx", 2.5, 3.0) for name in OBJECTS),
    Ratio("get256m", "nginx", 2.0, 2.2),
    Ratio("get256m", "envoy", 1.0, 1.2),
    Ratio("over2000", "nginx", 2.5, 3.0),
    Limit("peak MiB, small calls", ("get1", "get16", "get64", "get256", "post1k", "churn"), "peak_mib", 16, 12),
    Limit("peak MiB, bodies", ("post100k", "put256m", "get256m", "get256m4"), "peak_mib", 20, 16),
    Limit("peak MiB, bodies to S3", OBJECTS, "peak_mib", 16, 12),
    Limit("disk MiB, bodies to S3", OBJECTS, "written_mib", 0, 0),
    Limit("peak MiB, 2,000 connections", ("over2000",), "peak_mib", 40, 32),
    Idle(10_000, 120, 100),
    Limit("idle MiB", ("start",), "idle_mib", 8, 7),
    Limit("first answer, ms after start", ("start",), "first_answer_ms", 30, 20),
    Size(13, 12),
]
