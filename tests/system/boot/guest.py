"""The whole kind of machine: firmware, kernel, a disk and a network card, in QEMU."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from agent import Agent
from console import Console
from machine import Machine, run

KVM, EMULATOR = "kvm", "tcg,thread=multi"
# With `max`, which has AVX, QEMU 7.2 let udev fail in one of two starts; without AVX it has not.
CPUS = {KVM: "host", EMULATOR: "Westmere"}
FIRMWARE = Path("/usr/share/OVMF")


class Guest(Machine):
    """Its disk, below `directory`, begins as `disk` and is as large as `size` says. `network` is a namespace, or None."""

    program = "/usr/local/bin/appliance"
    start_limit, stop_limit, pause = 300, 90, 0.5

    def __init__(self, disk, size, directory, network, accelerator):
        self.directory, self.network, self.accelerator, self.starts = Path(directory), network, accelerator, 0
        self.directory.mkdir()
        run("qemu-img", "create", "-q", "-f", "qcow2", "-b", str(disk), "-F", "raw", str(self.directory / "disk"), str(size))
        shutil.copy(FIRMWARE / "OVMF_VARS_4M.fd", self.directory / "variables")

    def start(self):
        """Switches it on; returns as soon as it takes commands."""
        self.starts += 1
        port = self.directory / "agent"
        port.unlink(missing_ok=True)
        # The cheapest network that has a DHCP server. It connects from the namespace, to whatever can be reached from there.
        wire = ["-netdev", "user,id=lan,ipv6=off,hostfwd=tcp:10.78.0.1:5000-:5000", "-device", "virtio-net-pci,netdev=lan,romfile="]
        qemu = [
            "qemu-system-x86_64", "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot",
            "-machine", "q35", "-accel", self.accelerator, "-cpu", CPUS[self.accelerator], "-smp", "2", "-m", "1024",
            "-drive", f"if=pflash,format=raw,readonly=on,file={FIRMWARE}/OVMF_CODE_4M.fd",
            "-drive", f"if=pflash,format=raw,file={self.directory}/variables",
            "-drive", f"if=none,id=disk,format=qcow2,cache=unsafe,file={self.directory}/disk", "-device", "nvme,drive=disk,serial=vol1",
            "-chardev", f"socket,id=agent,server=on,wait=off,path={port}", "-device", "virtio-serial-pci",
            "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
            *(wire if self.network else ["-nic", "none"]),
        ]  # fmt: skip
        enter = ["ip", "netns", "exec", self.network] if self.network else []
        self.errors = self.directory / f"qemu-{self.starts}"
        with open(self.errors, "w") as errors:
            self.process = subprocess.Popen([*enter, *qemu], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
        self.console = Console(self.process.stdout, self.directory / f"console-{self.starts}")
        agent, self.agent, deadline = None, None, time.monotonic() + self.start_limit
        while time.monotonic() < deadline:
            if self.process.poll() is not None or "KVM internal error" in self.errors.read_text():
                raise RuntimeError(f"QEMU gives up: {self.errors.read_text()}")
            try:
                if agent is None and port.exists():
                    agent = Agent(port)
                    # The text waits in the port until a program opens the port.
                    agent.send("guest-ping")
                if agent and agent.answer(0.5) == {}:
                    self.agent = agent
                    return
            except (TimeoutError, ConnectionError):
                pass
            time.sleep(0.1)
        raise RuntimeError(f"the agent does not answer after {self.start_limit} s")

    def execute(self, command):
        return self.agent.execute(command)

    def poweroff(self):
        self.agent.send("guest-shutdown")

    def explain(self):
        print(f"the last lines of the console:\n{self.console.tail()}\n{self.errors.read_text()}", file=sys.stderr)
        if self.agent and self.process.poll() is None:
            super().explain()

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


def accelerator(disk, size, directory):
    """KVM where a guest really starts with it: a device that can be opened is not enough inside some virtual machines."""
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        trial = Guest(disk, size, directory, None, KVM)
        trial.start_limit = 60
        try:
            trial.start()
            return KVM
        except RuntimeError as error:
            print(f"KVM does not work here: {str(error).splitlines()[0]}", file=sys.stderr)
        finally:
            trial.kill()
    return EMULATOR
