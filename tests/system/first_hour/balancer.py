"""Stands in for an Application Load Balancer: nginx passes requests on, and this checks the targets and tells nginx.

usage: balancer.py DIRECTORY, in the balancer's network namespace

DIRECTORY/balancer.json has what the stack says of the balancer. DIRECTORY/targets.json names its targets and is read again
and again; DIRECTORY/health.json says of each `initial`, `healthy`, `unhealthy` or `draining`. As with AWS's, a new target
gets requests after one good answer, one that was unhealthy after `healthy` of them; no request is tried twice; a target that
is taken away gets no new requests, and is let go when its last one has ended or after the deregistration delay.
"""

import json
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

directory = Path(sys.argv[1])
said = json.loads((directory / "balancer.json").read_text())
NGINX = """
daemon off;
user root;
worker_processes 1;
error_log {directory}/nginx.log notice;
pid {directory}/nginx.pid;
# Requests of a target that is taken away may take so long.
worker_shutdown_timeout {delay}s;
events {{ worker_connections 1024; }}
http {{
    access_log {directory}/requests.log;
    client_body_temp_path {directory}/nginx-body;
    proxy_temp_path {directory}/nginx-proxy;
    fastcgi_temp_path {directory}/nginx-fastcgi;
    scgi_temp_path {directory}/nginx-scgi;
    uwsgi_temp_path {directory}/nginx-uwsgi;
    client_max_body_size 0;
    keepalive_timeout {idle}s;
    client_body_timeout {idle}s;
    {upstream}
    server {{
        listen {port};
        location / {{
            {forward}
        }}
    }}
}}
"""
FORWARD = """
            proxy_pass http://targets;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Port $server_port;
            proxy_request_buffering off;
            proxy_buffering off;
            proxy_read_timeout {idle}s;
            proxy_send_timeout {idle}s;
            proxy_next_upstream off;
"""


class Target(threading.Thread):
    """Checks a target's health."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.address, self.state, self.over = address, "initial", False

    def run(self):
        good = bad = 0
        while not self.over:
            began = time.monotonic()
            if self.answers():
                good, bad = good + 1, 0
            else:
                good, bad = 0, bad + 1
            if good and (self.state == "initial" or good >= said["healthy"]):
                self.state = "healthy"
            if bad >= said["unhealthy"]:
                self.state = "unhealthy"
            time.sleep(max(0, said["interval"] - (time.monotonic() - began)))

    def answers(self):
        try:
            return urllib.request.urlopen(f"http://{self.address}:{said['target_port']}{said['path']}", timeout=said["timeout"]).status == 200
        except OSError:
            return False


def write(addresses):
    servers = "".join(f"server {address}:{said['target_port']} max_fails=0; " for address in addresses)
    upstream = f"upstream targets {{ least_conn; {servers} keepalive 64; keepalive_timeout {said['idle']}s; }}" if addresses else ""
    forward = FORWARD.format(**said) if addresses else "return 503;"
    (directory / "nginx.conf").write_text(NGINX.format(directory=directory, upstream=upstream, forward=forward, **said))


def workers():
    """The processes of nginx that pass requests on."""
    return set(Path(f"/proc/{nginx.pid}/task/{nginx.pid}/children").read_text().split())


write([])
nginx = subprocess.Popen(["/usr/sbin/nginx", "-p", str(directory), "-c", str(directory / "nginx.conf")])
targets, draining, used = {}, {}, []
while nginx.poll() is None:
    wanted = json.loads((directory / "targets.json").read_text())
    for name, address in wanted.items():
        if name not in targets:
            targets[name] = Target(address)
            targets[name].start()
    gone = [name for name in targets if name not in wanted]
    in_use = [one.address for name, one in targets.items() if name in wanted and one.state == "healthy"]
    if in_use != used:
        before, used = workers(), in_use
        write(in_use)
        nginx.send_signal(1)
        deadline = time.monotonic() + 10
        while not workers() - before and time.monotonic() < deadline:
            time.sleep(0.02)
        draining |= dict.fromkeys(gone, before)
    for name in gone:
        # Old workers end as soon as they have nothing left to do.
        draining[name] = draining.get(name, set()) & workers()
        if not draining[name]:
            targets.pop(name).over = True
            draining.pop(name)
    health = {name: "draining" if name in gone else one.state for name, one in targets.items()}
    (directory / "health.new").write_text(json.dumps(health))
    (directory / "health.new").rename(directory / "health.json")
    time.sleep(0.1)
sys.exit("nginx has ended")
