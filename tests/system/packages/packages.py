"""The Debian package and the RPM are installed, upgraded and removed, each on a clean system.

usage: packages.py DIRECTORY APPLIANCE WHOLE_APPLIANCE TREE
APPLIANCE is packaged; WHOLE_APPLIANCE writes the man pages and the completions; TREE is a Debian with systemd, which is not
changed. Needs root, and mounts and processes that end with the process that called this. Prints one JSON line with its figures.
"""

import contextlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

here = Path(__file__).parent
sys.path.append(str(here.parent / "rehearsal"))

from container import Container  # noqa: E402
from figures import figures, holds, same  # noqa: E402
from machine import run, used  # noqa: E402

directory, appliance, whole, tree = map(Path, sys.argv[1:])
packages = here.parents[2] / ".ci/packages"
UNITS = ("mlflow-appliance.service", "mlflow-appliance.socket")
ARN = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/app-ABCDEF123456"
HEALTH = "http://127.0.0.1:5000/_appliance/healthz"
CREDENTIALS = "[Service]\nEnvironment=AWS_ACCESS_KEY_ID=AKIDEXAMPLE AWS_SECRET_ACCESS_KEY=example AWS_EC2_METADATA_DISABLED=true\n"
OLD, NEW = "0.1.0", "0.1.1-rc.1"


class System:
    """A Debian without the appliance, and the path at which a package installs the program."""

    program, arguments = "/usr/bin/appliance", []


def build(version, label="packages", architecture="x86_64"):
    """The paths of both packages of a version."""
    made = directory / label
    environment = os.environ | {"SOURCE_DATE_EPOCH": "1790000000", "APPLIANCE_PACKAGES": "quick"}
    run(packages / "build", directory / "parts", architecture, version, made, env=environment)
    ordered = version.replace("-", "~")
    (deb,), (rpm,) = made.glob(f"mlflow-appliance_{ordered}_*.deb"), made.glob(f"mlflow-appliance-{ordered}-1.*.rpm")
    return deb, rpm


def prepare():
    """Collects the parts of the packages. The notices of a release take minutes to write, so a word stands for them."""
    parts = directory / "parts"
    run(packages / "pages", whole, parts)
    (parts / "appliance").write_bytes(appliance.read_bytes())
    (parts / "THIRD-PARTY-NOTICES.txt").write_text("notices\n")


def the_same_parts_make_the_same_packages(first):
    for one, other in zip(first, build(OLD, "again")):
        same(f"{one.name} is reproducible", one.read_bytes() == other.read_bytes(), True)


def the_other_architecture_has_packages():
    deb, rpm = build(OLD, "other", "aarch64")
    same("Debian's name of the architecture", run("dpkg-deb", "-f", deb, "Architecture").strip(), "arm64")
    same("RPM's name of the architecture", run("rpm", "-qp", "--qf", "%{ARCH}", rpm), "aarch64")


def the_units_are_those_of_bootstrap_install(root):
    """The packages render the units themselves, because `bootstrap install` needs systemd where it runs."""
    installed = directory / "installed"
    (installed / "etc/systemd/system").mkdir(parents=True)
    run(appliance, "bootstrap", "install", "--from", "file", "--root", installed)
    for unit in UNITS:
        expected = (installed / "etc/systemd/system" / unit).read_text().replace("/usr/local/bin/", "/usr/bin/")
        same(f"{unit} is that of `bootstrap install`", (root / "usr/lib/systemd/system" / unit).read_text(), expected)


def status():
    """The status of the health check, or 0 where nothing answers. The machine has the network namespace of this process."""
    try:
        return urllib.request.urlopen(HEALTH, timeout=5).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def files(one):
    """The files of a machine, without those that every system writes while it runs."""
    found = one.inside("find", "/etc", "/usr", "/var", "/root", "-xdev", "-not", "-path", "/var/log/*", "-not", "-path", "/var/tmp/*")
    # dpkg's lists and the copied packages are no part of the package. systemd writes the others while a machine runs.
    others = ("/var/lib/dpkg/", "/root/mlflow", "/var/lib/systemd/linger", "/var/lib/systemd/timers", "/var/lib/dbus/machine-id")
    return {path for path in found.stdout.splitlines() if not path.startswith(others)}


def install(one, package):
    """Copies a package onto the machine, which is on, and installs it."""
    one.execute_with(package.read_bytes(), "sh", "-c", f"cat >/root/{package.name}")
    return one.inside("env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--install", f"/root/{package.name}")


class Machine(Container):
    """A container that takes files on standard input."""

    def execute_with(self, contents, *command):
        enter = ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "-r", "-w", "--"]
        subprocess.run([*enter, *command], input=contents, check=True, cwd="/")


def the_service_waits_for_its_configuration(one):
    for unit in UNITS:
        same(f"{unit} is not running", one.show(unit, "ActiveState")["ActiveState"], "inactive")
        same(f"{unit} is not enabled", one.show(unit, "UnitFileState")["UnitFileState"], "disabled")
    modes = one.inside("stat", "-c", "%a %U:%G", "/etc/mlflow-appliance/secrets", "/etc/mlflow-appliance/tokens.toml").stdout.splitlines()
    same("only root reads secrets, and the appliance the hashes of tokens", modes, ["700 root:root", "640 root:mlflow-appliance"])


def the_configured_service_answers(one):
    new = ["appliance", "token", "new", "--file", "/etc/mlflow-appliance/tokens.toml", "--name", "ci", "--role", "write"]
    one.inside(*new)
    one.inside("sh", "-c", f"echo 'resource-arn = \"{ARN}\"' >>/etc/mlflow-appliance/appliance.toml")
    one.inside("mkdir", "-p", "/run/systemd/system/mlflow-appliance.service.d")
    one.execute_with(CREDENTIALS.encode(), "sh", "-c", "cat >/run/systemd/system/mlflow-appliance.service.d/test.conf")
    one.inside("systemctl", "daemon-reload")
    one.inside("systemctl", "enable", "--now", "mlflow-appliance")
    same("the health check", status(), 200)


def an_upgrade_restarts_it_and_fails_no_request(one, package):
    pid = one.show("mlflow-appliance", "MainPID")["MainPID"]
    kept = [one.read(f"/etc/mlflow-appliance/{name}.toml") for name in ("appliance", "tokens")]
    stop = directory / "upgraded"
    poll = subprocess.Popen([sys.executable, here.parent / "rehearsal/poll.py", HEALTH, stop], stdout=subprocess.PIPE, text=True)
    same("requests are sent before the upgrade", poll.stdout.readline(), "asking\n")
    install(one, package)
    stop.touch()
    answers = json.loads(poll.communicate(timeout=30)[0])
    same("requests that failed during the upgrade", [answer for answer in answers if answer != 200], [])
    holds("many requests were sent during the upgrade", len(answers) >= 100, len(answers))
    figures["requests during the upgrade, none of which failed"] = len(answers)
    holds("the upgrade restarted the service", one.show("mlflow-appliance", "MainPID")["MainPID"] not in (pid, "0"))
    same("the version", one.inside("dpkg-query", "-W", "-f", "${Version}", "mlflow-appliance").stdout, NEW.replace("-", "~"))
    same("the configuration is kept", [one.read(f"/etc/mlflow-appliance/{name}.toml") for name in ("appliance", "tokens")], kept)
    same("the service stays enabled", one.show(UNITS[0], "UnitFileState")["UnitFileState"], "enabled")


def a_removal_keeps_the_configuration_and_a_purge_does_not(one, before):
    one.inside("dpkg", "--remove", "mlflow-appliance")
    same("nothing answers", status(), 0)
    holds("the program is gone", one.inside("test", "-e", "/usr/bin/appliance", check=False).returncode)
    left = one.inside("find", "/etc/mlflow-appliance", "-type", "f").stdout.split()
    same("the configuration stays", sorted(left), [f"/etc/mlflow-appliance/{name}.toml" for name in ("appliance", "tokens")])
    one.inside("dpkg", "--purge", "mlflow-appliance")
    same("files that a purge leaves", sorted(files(one) - before), [])
    same("no unit is left", one.inside("systemctl", "list-unit-files", "--no-legend", "mlflow-appliance*", check=False).stdout, "")
    same("the user stays", one.inside("id", "--user", "--name", "mlflow-appliance").stdout.strip(), "mlflow-appliance")


def the_debian_package(stack, old, new):
    name = f"packages-{directory.name}"
    stack.callback(subprocess.run, ["ip", "netns", "del", name], capture_output=True)
    run("ip", "netns", "attach", name, str(os.getpid()))
    run("ip", "link", "set", "lo", "up")
    with used(Machine(tree, directory / "machine", name, System, name="packages")) as one:
        one.start()
        before = files(one)
        install(one, old)
        the_service_waits_for_its_configuration(one)
        the_configured_service_answers(one)
        an_upgrade_restarts_it_and_fails_no_request(one, new)
        a_removal_keeps_the_configuration_and_a_purge_does_not(one, before)


def names(root):
    """The files of a tree without RPM's database. RPM-based systems have the directories already that hold completions."""
    found = {str(path.relative_to(root)) for part in ("etc", "usr", "var") for path in (root / part).rglob("*") if not path.is_dir()}
    return {name for name in found if not name.startswith("var/lib/rpm")}


def the_rpm(old, new):
    """Debian's packages have other names than those that this one needs, so RPM does not check them."""
    root = directory / "rpm"
    for part in ("root", "upper", "work"):
        (root / part).mkdir(parents=True)
    layers = f"lowerdir={tree},upperdir={root}/upper,workdir={root}/work"
    run("mount", "-t", "overlay", "overlay", "-o", layers, root / "root")
    root /= "root"
    same("digests", run("rpm", "--checksig", "--nosignature", old).strip(), f"{old}: digests OK")
    before = names(root)
    rpm = ["rpm", "--root", root, "--nodeps"]
    run(*rpm, "--install", old)
    run("chroot", root, "/usr/bin/appliance", "--version")
    listed = {path.lstrip("/") for path in run("rpm", "-qlp", old).split() if not (root / path.lstrip("/")).is_dir()}
    same("files that the package lists and lacks", sorted(listed - names(root)), [])
    the_units_are_those_of_bootstrap_install(root)
    run("chroot", root, "id", "mlflow-appliance")
    configuration, tokens = (root / f"etc/mlflow-appliance/{name}.toml" for name in ("appliance", "tokens"))
    with configuration.open("a") as file:
        file.write(f'resource-arn = "{ARN}"\n')
    kept = configuration.read_text()
    run(*rpm, "--upgrade", new)
    same("an upgrade keeps the configuration", configuration.read_text(), kept)
    same("mode of the tokens", oct(tokens.stat().st_mode & 0o777), "0o640")
    run(*rpm, "--erase", "mlflow-appliance")
    left = sorted(names(root) - before)
    same("files that a removal leaves", left, [f"etc/mlflow-appliance/{name}" for name in ("appliance.toml.rpmsave", "tokens.toml")])


with contextlib.ExitStack() as stack:
    prepare()
    (old_deb, old_rpm), (new_deb, new_rpm) = build(OLD), build(NEW)
    the_same_parts_make_the_same_packages((old_deb, old_rpm))
    the_other_architecture_has_packages()
    figures["MiB of the Debian package and the RPM"] = [round(path.stat().st_size / 2**20, 1) for path in (old_deb, old_rpm)]
    the_debian_package(stack, old_deb, new_deb)
    the_rpm(old_rpm, new_rpm)
print(json.dumps(figures))
