"""A whole machine boots: firmware, the layout of the image's disk, the appliance, and a cloud around it.

usage: boot.py DIRECTORY APPLIANCE WHOLE_APPLIANCE TREE
The arguments are those of ../rehearsal/rehearse.py, whose cloud and checks these are; TREE is what `tree` makes. Needs root
and QEMU. Prints the steps of each start with their seconds, and one JSON line with its figures.
"""

import contextlib
import json
import sys
import time
from pathlib import Path

here = Path(__file__).parent
sys.path.append(str(here.parent / "rehearsal"))

import disk  # noqa: E402
from console import STEPS  # noqa: E402
from figures import figures, holds, same  # noqa: E402
from guest import Guest, accelerator  # noqa: E402
from machine import used  # noqa: E402
from scene import Scene  # noqa: E402
from starts import a_client_logs_a_run, changed_user_data, first_start  # noqa: E402
from systems import Debian  # noqa: E402

directory, appliance, whole, tree = map(Path, sys.argv[1:])
# Of the disk, which is larger than the image, as an instance's is.
SIZE = 3 * 2**30


def shown(one, label, absent=(), optional=()):
    """The console has shown every step but those that are absent. The optional ones may be among them."""
    steps = one.console.steps()
    print(f"{label} ({one.accelerator}):", *(f"{seconds:7.1f} s  {what}" for what, seconds in steps.items()), sep="\n", flush=True)
    same(f"{label}: steps that the console does not show", sorted(set(STEPS) - set(steps) - set(optional)), sorted(absent))
    # The unit that shows the state looks for changes every few seconds.
    deadline = time.monotonic() + 30
    while "state: ready" not in one.console.text():
        holds(f"{label}: the console has the state", time.monotonic() < deadline)
        time.sleep(0.2)


def a_whole_machine(one):
    """Checks what no container shows."""
    same("UEFI", one.inside("test", "-d", "/sys/firmware/efi", check=False).returncode, 0)
    source, label, size = one.inside("findmnt", "-nbro", "SOURCE,PARTLABEL,SIZE", "/").stdout.split()
    same("the root is the image's", (source, label), ("/dev/nvme0n1p2", "nixos"))
    holds("the root has grown", int(size) > SIZE - 2**29, size)
    # SECURITY: a program that could write there would choose what starts next.
    mounts = one.inside("findmnt", "-nro", "TARGET,SOURCE,FSTYPE").stdout.splitlines()
    reachable = [line for line in mounts if line.startswith(("/boot", "/efi")) or "nvme0n1p1" in line or "vfat" in line]
    same("the ESP is mounted nowhere, nor would it be", reachable, [])
    failed = one.inside("systemctl", "--failed", "--plain", "--no-legend").stdout
    same("no unit has failed", failed, "")


@contextlib.contextmanager
def timed(what):
    before = time.monotonic()
    yield
    figures[f"seconds for {what}"] = round(time.monotonic() - before, 1)


with contextlib.ExitStack() as stack:
    scene = Scene(directory, stack)
    scene.network()
    with timed("the cloud"):
        scene.start_cloud(whole)
    raw = directory / "disk"
    with timed("the disk"):
        disk.make(scene.image(Debian(tree, appliance)), Guest.program, raw)
    figures["image: MiB"] = raw.stat().st_size // 2**20
    with timed("the choice of KVM or an emulator"):
        kind = accelerator(raw, SIZE, directory / "trial")
    with used(Guest(raw, SIZE, directory / "guest", scene.machine, kind)) as one:
        first_start(scene, one)
        shown(one, "first start")
        a_whole_machine(one)
        with timed("MLflow's client"):
            token = a_client_logs_a_run(scene, one)
        # The same disk. One start shows both, what stays and what changes; each takes an emulator a minute.
        changed_user_data(scene, one, token)
        # Nothing is left to grow, and what ends at once may share its line with a message of the kernel.
        growth = ["the partition has grown", "the root has grown"]
        shown(one, "changed user data", absent=["CloudFormation is signalled", "Auto Scaling is signalled"], optional=growth)
        a_whole_machine(one)
print(json.dumps(figures))
