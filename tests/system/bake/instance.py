"""The instance of a bake: a real sshd on 127.0.0.1, whose commands run on this machine as whoever tests.

Its `sudo` only runs what it is given, as the user is root there or may not become it; or it runs that in another root, if
the script `within` says how. While the file `hold` exists, it makes the file `hold.reached`, waits, and then fails.
"""

import os
import pwd
import shutil
import socket
import subprocess
import time
from pathlib import Path

# The directory of the template's uploads.
UPLOADS, UPLOADED = Path("/var/tmp"), "mlflow-appliance.*"
SUDO = """#!/bin/sh
i=0
while [ -e '{hold}' ]; do
    : >'{hold}.reached'
    i=$((i + 1))
    [ $i -lt 600 ] || exit 1
    sleep 0.1
done
[ $i = 0 ] || exit 1
[ ! -e '{within}' ] || exec sh '{within}' "$@"
exec "$@"
"""


class Instance:
    def __init__(self, directory):
        directory.mkdir()
        self.directory, self.hold, self.reached, self.within = directory, directory / "hold", directory / "hold.reached", directory / "within"
        self.key, self.authorized = directory / "key", directory / "authorized"
        self.user = pwd.getpwuid(os.getuid()).pw_name
        for name in ("key", "host"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
        self.public = (directory / "key.pub").read_text()
        self.forget()
        shim = directory / "bin"
        shim.mkdir()
        self.sudo = shim / "sudo"
        self.sudo.write_text(SUDO.format(hold=self.hold, within=self.within))
        self.sudo.chmod(0o755)
        # sshd gives up its privileges in there, if it has any.
        if os.getuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        (directory / "config").write_text(f"""
            ListenAddress 127.0.0.1:{self.port}
            HostKey {directory}/host
            AuthorizedKeysFile {self.authorized}
            PermitRootLogin prohibit-password
            PasswordAuthentication no
            StrictModes no
            UsePAM no
            PidFile none
            SetEnv PATH={shim}:/usr/sbin:/usr/bin:/sbin:/bin
        """)
        self.log = directory / "log"
        sshd = shutil.which("sshd", path="/usr/sbin:/sbin:" + os.environ["PATH"])
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([sshd, "-D", "-e", "-f", directory / "config"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while self.process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        self.close()
        raise RuntimeError(f"sshd does not answer: {self.log.read_text()}")

    def forget(self):
        """As new: nothing is uploaded, nothing waits, and only the key that the test brings opens the door."""
        self.authorized.write_text(self.public)
        for path in (self.hold, self.reached, self.within, *UPLOADS.glob(UPLOADED)):
            path.unlink(missing_ok=True)

    def admit(self, private):
        """Lets in whoever has this private key, as cloud-init does with the key pair of an instance."""
        path = self.directory / "admitted"
        path.write_text(private)
        path.chmod(0o600)
        public = subprocess.run(["ssh-keygen", "-y", "-f", path], check=True, capture_output=True, text=True).stdout
        path.unlink()
        self.authorized.write_text(public)

    def leftovers(self):
        return sorted(str(path) for path in UPLOADS.glob(UPLOADED))

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
