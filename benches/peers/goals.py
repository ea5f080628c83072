"""Sets what the appliance is to reach, in figures of one run on two cores; `then` is what comes after that."""

from dataclasses import dataclass
from statistics import median

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


@dataclass(frozen=True)
class Limit:
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

    def is_met(self, value):
        return value <= self.bound


@dataclass(frozen=True)
class Size:
    """The static binary's."""

    bound: float
    then: float

    def __str__(self):
        return f"static binary, MiB ≤ {self.bound:g}"

    def value(self, measured):
        return measured.binary_mib

    def is_met(self, value):
        return value <= self.bound


SMALL = ("get16", "get64", "get256")
OBJECTS = ("object256m", "object256m4")
GOALS = [
    *(Ratio(name, "nginx", 1.0, 1.2) for name in SMALL),
    *(Ratio(name, "envoy", 2.0, 4.0) for name in SMALL),
    *(Ratio(name, "awslabs", 10.0, 15.0) for name in SMALL),
    *(Ratio(name, "flask-session", 25.0, 60.0) for name in SMALL),
    Ratio("get64", "nginx", 1.0, 0.8, "p99_ms", at_least=False),
    Ratio("put256m", "nginx", 2.5, 3.0),
    Ratio("put256m", "nginx", 2.5, 3.0, peer="appliance-unsigned"),
    *(Ratio(name, "nginx", 2.5, 3.0) for name in OBJECTS),
    *(Ratio(name, "nginx", 1.0, 0.8, "cpu_ms", at_least=False) for name in OBJECTS),
    Ratio("get256m", "nginx", 1.7, 2.2),
    Ratio("get256m", "envoy", 1.0, 1.2),
    Ratio("churn", "nginx", 0.95, 1.1),
    Ratio("over2000", "nginx", 2.5, 3.0),
    Limit("peak MiB, small calls", ("get1", "get16", "get64", "get256", "post1k", "churn"), "peak_mib", 16, 12),
    Limit("peak MiB, bodies", ("post100k", "put256m", "get256m", "get256m4"), "peak_mib", 40, 20),
    Limit("peak MiB, bodies to S3", OBJECTS, "peak_mib", 16, 12),
    Limit("disk MiB, bodies to S3", OBJECTS, "written_mib", 0, 0),
    Limit("peak MiB, 2,000 connections", ("over2000",), "peak_mib", 64, 48),
    Limit("idle MiB", ("start",), "idle_mib", 10, 8),
    Limit("first answer, ms after start", ("start",), "first_answer_ms", 30, 20),
    Size(13, 12),
]
