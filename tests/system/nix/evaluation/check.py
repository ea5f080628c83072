"""What the image is and is not, by what Nix evaluates it to. Nothing is built.

usage: check.py FACTS
FACTS is the JSON of facts.nix; tests/system/python is on the path. Prints one JSON line with its figures.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import checks
from checks import same

facts = json.loads(Path(sys.argv[1]).read_text())
figures = {}
UNITS = ["mlflow-appliance", "mlflow-appliance-bootstrap", "mlflow-appliance-signal", "mlflow-appliance-console"]
ARCHITECTURES = {"appliance-x86_64": "X64", "appliance-aarch64": "AA64"}


def holds(what, truth, context=""):
    same(f"{what} {context}", bool(truth), True)


def derivations():
    """Every output has a derivation, on both architectures."""
    outputs = {
        "packages": {"ami", "appliance", "default", "sbom"},
        "checks": {"clippy", "deny", "format", "image", "module", "package", "static", "vm-instance"},
        "shells": {"default"},
    }
    count = 0
    for kind, names in outputs.items():
        same(f"systems of {kind}", sorted(facts[kind]), ["aarch64-linux", "x86_64-linux"])
        for system, found in facts[kind].items():
            more = {"appliance-aarch64"} if (kind, system) == ("packages", "x86_64-linux") else set()
            same(f"{kind} of {system}", set(found), names | more)
            for name, path in found.items():
                holds(f"{kind}.{system}.{name}", re.fullmatch(r"/nix/store/[a-z0-9]{32}-[^/]+\.drv", path), path)
                count += 1
    figures["derivations evaluated"] = count


def image(name, one):
    same(f"{name}: failed assertions", one["failed"], [])
    same(f"{name}: warnings", one["warnings"], [])
    # No way in: no server for shells, no prompt, no password, no key, and nothing that executes user data.
    same(f"{name}: sshd", one["has-sshd"], False)
    same(f"{name}: amazon-init", one["has-amazon-init"], False)
    same(f"{name}: Nix", one["has-nix"], False)
    same(f"{name}: keys and passwords", (one["keys"], one["passwords"], one["mutable-users"]), ([], [], False))
    for service in ["autovt@", "getty@tty1", "serial-getty@hvc0", "serial-getty@ttyS0"]:
        holds(f"{name}: {service} is off", service in one["disabled"], one["disabled"])
    for service in ["apply-ec2-data", "fetch-ec2-metadata", "print-host-key"]:
        holds(f"{name}: {service} is off", service in one["disabled"], one["disabled"])
    running = one["services"]
    same(f"{name}: prompts", [unit for unit in running if re.search("getty|autovt|ssh", unit)], [])
    # But Session Manager, the clock of the hypervisor and the port of the service.
    for service in ["amazon-ssm-agent", "chronyd", "firewall", *UNITS]:
        holds(f"{name}: {service} is on", service in running, running)
    same(f"{name}: time", one["time"], {"enable": True, "servers": ["169.254.169.123"], "timesyncd": False})
    wall = one["firewall"]
    same(f"{name}: firewall", (wall.pop("enable"), wall.pop("allowedTCPPorts")), (True, [5000]))
    same(f"{name}: nothing else is let in", set(map(str, wall.values())), {"[]"})
    # What EC2 needs.
    holds(f"{name}: console", "console=ttyS0,115200n8" in one["kernel-parameters"], one["kernel-parameters"])
    holds(f"{name}: NVMe and ENA", "nvme" in one["initrd-modules"] and "ena" in one["modules"])
    same(f"{name}: the root grows", (one["grows"], one["root"]["autoResize"]), (True, True))
    parts = one["partitions"]
    same(f"{name}: what the firmware starts", parts["esp"]["contents"], [f"/EFI/BOOT/BOOT{ARCHITECTURES[name]}.EFI"])
    same(f"{name}: the root is found", one["root"]["device"], f"/dev/disk/by-partlabel/{parts['root']['repartConfig']['Label']}")
    for limit in ["SystemMaxUse=512M", "SystemKeepFree=1G", "RuntimeMaxUse=64M", "MaxRetentionSec=30day"]:
        holds(f"{name}: {limit}", limit in one["journald"].splitlines(), one["journald"])
    # First the configuration, then the service.
    for unit in ["mlflow-appliance.service.d/instance.conf", "mlflow-appliance.socket.d/instance.conf"]:
        text = one["units"][unit].splitlines()
        holds(f"{name}: {unit}", {f"{key}=mlflow-appliance-bootstrap.service" for key in ("Requires", "After")} <= set(text), text)
    for compiler in ["gcc", "clang", "rustc", "go", "nix"]:
        holds(f"{name}: no {compiler}", compiler not in one["packages"], one["packages"])
    figures[f"{name}: packages on the path"] = len(one["packages"])
    figures[f"{name}: services started"] = len(running)


def exposure(name, one):
    """As systemd judges the units, with what NixOS adds to them."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        texts = {**one["units"], "mlflow-appliance-console.service": one["console"]}
        texts |= {f"{unit}.d/overrides.conf": text for unit, text in one["overrides"].items()}
        for path, text in texts.items():
            (place / path).parent.mkdir(exist_ok=True)
            (place / path).write_text(text)
        for unit in UNITS:
            command = ["systemd-analyze", "security", "--no-pager", "--offline=true", f"{place}/{unit}.service"]
            done = subprocess.run(command, capture_output=True, text=True)
            last = (done.stdout.splitlines() or [done.stderr])[-1]
            found = re.search(r"exposure level for .*: ([0-9.]+)", last)
            holds(f"{unit} is judged", found, last)
            holds("exposure is at most 1.5", float(found[1]) <= 1.5, last)
            figures[f"{name}: exposure of {unit}"] = float(found[1])


derivations()
same("images", set(facts["images"]), set(ARCHITECTURES))
for name, one in facts["images"].items():
    image(name, one)
    exposure(name, one)
print(json.dumps({"checks": checks.made, "release": facts["release"], "rustc": facts["rustc"], **figures}))
