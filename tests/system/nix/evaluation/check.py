"""Checks what the image is and is not, by what Nix evaluates it to. It builds nothing.

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
    """Every output has a derivation on each system, and every package is among the checks."""
    systems = ["aarch64-darwin", "aarch64-linux", "x86_64-darwin", "x86_64-linux"]
    packages = {system: {"appliance", "default"} for system in systems}
    checks_of = {system: {"app", "clippy", "deny", "format", "package", "shell"} for system in systems}
    for system in ("aarch64-linux", "x86_64-linux"):
        packages[system] |= {"ami", "container", "instance", "sbom"}
        checks_of[system] |= {"module", "vm-instance", "vm-server"}
    packages["x86_64-linux"].add("appliance-aarch64")
    for system in systems:
        checks_of[system] |= {f"package-{name}" for name in packages[system] - {"default"}}
    outputs = {"packages": packages, "checks": checks_of, "shells": {system: {"default"} for system in systems}}
    count = 0
    for kind, expected in outputs.items():
        same(f"systems of {kind}", sorted(facts[kind]), systems)
        for system, found in facts[kind].items():
            same(f"{kind} of {system}", set(found), expected[system])
            for name, path in found.items():
                holds(f"{kind}.{system}.{name}", re.fullmatch(r"/nix/store/[a-z0-9]{32}-[^/]+\.drv", path), path)
                count += 1
    for system, found in facts["apps"].items():
        holds(f"app of {system}", re.fullmatch(r"/nix/store/[a-z0-9]{32}-appliance-with-mlflow/bin/appliance", found["default"]), found)
    same("systems of apps", sorted(facts["apps"]), systems)
    figures["derivations evaluated"] = count


def profiles():
    """The profile is used by what it was recorded of: the names of functions depend on all but the flags."""
    same("systems of profiles", sorted(facts["profiles"]), ["aarch64-linux", "x86_64-linux"])
    for system, one in facts["profiles"].items():
        flags = {role: one[role].pop("flags") for role in one}
        same(f"{system}: the recording and the use of the profile", one["counts"], one["uses"])
        same(f"{system}: features and profile of Cargo", (one["uses"]["cargoBuildNoDefaultFeatures"], one["uses"]["cargoBuildType"]), (True, "dist"))
        holds(f"{system}: it is static", one["uses"]["target"].endswith("-unknown-linux-musl"), one["uses"])
        holds(f"{system}: it counts", "-Cprofile-generate" in flags["counts"], flags)
        holds(f"{system}: it is used", "-Cprofile-use=/nix/store/" in flags["uses"], flags)


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
    # EC2 needs these.
    holds(f"{name}: console", "console=ttyS0,115200n8" in one["kernel-parameters"], one["kernel-parameters"])
    holds(f"{name}: NVMe and ENA", "nvme" in one["initrd-modules"] and "ena" in one["modules"])
    same(f"{name}: the root grows", (one["grows"], one["root"]["autoResize"]), (True, True))
    # The kernel that the firmware starts must be out of everybody's reach.
    holds(f"{name}: systemd mounts no partition by itself", "systemd.gpt_auto=0" in one["kernel-parameters"], one["kernel-parameters"])
    same(f"{name}: mounts of the EFI partition", [where for where in one["mounts"] if re.match("/(boot|efi)", where)], [])
    same(f"{name}: the commands for people are left out", one["commands"], True)
    parts = one["partitions"]
    same(f"{name}: the file that the firmware starts", parts["esp"]["contents"], [f"/EFI/BOOT/BOOT{ARCHITECTURES[name]}.EFI"])
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


def server(one):
    """The example of docs/deploy/nixos.md: TLS with a certificate of ACME, which is there at the start and may be read."""
    same("example: failed assertions", (one["failed"], one["warnings"]), ([], []))
    holds("example: it has a derivation", one["toplevel"].endswith(".drv"), one["toplevel"])
    place = one["certificate"]["directory"]
    same("example: files", one["settings"], {"tls-certificate": f"{place}/fullchain.pem", "tls-key": f"{place}/key.pem"})
    unit = one["unit"].splitlines()
    holds("example: it may read them", f"SupplementaryGroups={one['certificate']['group']}" in unit, unit)
    # NixOS calls the unit that makes a first certificate so, and the one that asks an authority otherwise.
    first = f"acme-{Path(place).name}"
    holds("example: the first certificate is made", first in one["makers"], one["makers"])
    holds("example: and waited for", all(any(line.startswith(key) and f"{first}.service" in line for line in unit) for key in ("After=", "Wants=")), unit)
    same("example: ports", sorted(one["ports"]), [80, 443])
    holds("example: the socket", "ListenStream=0.0.0.0:443" in one["socket"].splitlines(), one["socket"])


def module(one, console):
    """It can be imported twice. A switch to another system restarts the service, and moves the socket with its address alone."""
    same("the package of a module that is imported twice", one["package"], one["expected"])
    holds("a switch restarts the service", "X-StopIfChanged=false" in one["service"].splitlines(), one["service"])
    holds("and the unit of the address", "X-StopIfChanged=false" in one["address"].splitlines(), one["address"])
    holds("which another address changes", "X-Restart-Triggers=" in one["address"], one["address"])
    holds("and of which the socket is a part", "PartOf=mlflow-appliance-address.service" in one["socket"].splitlines(), one["socket"])
    holds("the console gets the secrets", "LoadCredential=secret_tls-key:/run/secrets/key" in console.splitlines(), console)


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
profiles()
server(facts["server"])
module(facts["twice"], facts["console-with-a-secret"])
same("images", set(facts["images"]), set(ARCHITECTURES))
for name, one in facts["images"].items():
    image(name, one)
    exposure(name, one)
print(json.dumps({"checks": checks.made, "release": facts["release"], "rustc": facts["rustc"], **figures}))
