"""Runs the scenes one after the other and prints the counts of each; `tests/system/soak/run` describes the arguments."""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import scenes
from appliance import Appliance

NETEM = "delay 20ms 5ms loss 0.5%"


class Upstream:
    """The process behind the appliance."""

    async def start(self):
        program = Path(__file__).with_name("upstream.py")
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(sys.executable, str(program), stdin=pipe, stdout=pipe)
        self.port = int(await self.process.stdout.readline())
        return self

    async def say(self, word):
        self.process.stdin.write(word.encode() + b"\n")
        return json.loads(await self.process.stdout.readline())

    async def counts(self):
        return await self.say("counts")

    async def forget(self):
        await self.say("forget")


class Stage:
    """The parts that the scenes use, and the longest duration of a scene."""

    def __init__(self, chosen, upstream):
        self.scene, self.binary, self.upstream = chosen.scene, chosen.binary, upstream
        self.requests, self.seconds, self.uploads = chosen.requests, chosen.seconds, chosen.uploads
        self.upload_bound = 400 << 20
        self.started = []

    def appliance(self, listener=None, **how):
        one = Appliance(self.scene, self.binary, self.upstream.port, listener, **how)
        self.started.append(one)
        return one


async def play(chosen):
    upstream = await Upstream().start()
    for scene in scenes.SCENES:
        if chosen.only and scene.__name__ not in chosen.only:
            continue
        await upstream.forget()
        stage, began = Stage(chosen, upstream), time.monotonic()
        try:
            said = await scene(stage)
        except SystemExit:
            for one in stage.started:
                with contextlib.suppress(OSError):
                    print(f"--- {one.log.name}\n" + "\n".join(one.log.read_text().splitlines()[-20:]), file=sys.stderr)
            raise
        finally:
            for one in stage.started:
                one.kill()
        print(f"soak: {said} ({time.monotonic() - began:.0f} s)", flush=True)
        if file := os.environ.get("APPLIANCE_TEST_FIGURES"):
            with open(file, "a") as figures:
                print(f"soak: {said}", file=figures)
    upstream.process.kill()


def in_bad_weather():
    """Starts again with a loopback of our own that delays and loses packets."""
    probe = f"ip link set lo up && tc qdisc add dev lo root netem {NETEM}"
    if subprocess.run(["unshare", "--net", "sh", "-c", probe], capture_output=True).returncode:
        raise SystemExit("SKIPPED netem: it needs root, iproute2, and a kernel with sch_netem")
    print(f"netem: {NETEM}", flush=True)
    arguments = [argument for argument in sys.argv if argument != "--netem"]
    os.execvp("unshare", ["unshare", "--net", "sh", "-c", f'{probe} && exec "$@"', "sh", sys.executable, *arguments])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("scene", type=Path)
    parser.add_argument("binary", type=Path)
    parser.add_argument("--seconds", type=int, default=30, help="of the last scene")
    parser.add_argument("--requests", type=int, default=100_000, help="of the replacement behind a balancer")
    # With 2,000, memory depends on how far the disk falls behind the listener: 0.6 to 0.9 GiB with the static binary.
    parser.add_argument("--uploads", type=int, default=300)
    parser.add_argument("--only", action="append", choices=[scene.__name__ for scene in scenes.SCENES])
    parser.add_argument("--netem", action="store_true")
    chosen = parser.parse_args()
    if chosen.netem:
        in_bad_weather()
    # Both ends of every connection are here or in a child.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65_536), most))
    asyncio.run(play(chosen))


main()
