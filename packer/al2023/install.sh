#!/usr/bin/env bash
# Makes an appliance of the Amazon Linux 2023 on which it runs as root, and leaves no way in but Session Manager.
#
# usage: install.sh UPLOAD VERSION
# UPLOAD.program is `appliance` of that version, UPLOAD.sh is this. It removes both. It downloads nothing.
set -euo pipefail

upload=$1 version=$2
trap 'rm -f "$upload".{program,sh}' EXIT

fail() {
    echo "$*" >&2
    exit 1
}

# shellcheck disable=SC1091
. /etc/os-release
[ "$ID $VERSION_ID" = "amzn 2023" ] || fail "this is $PRETTY_NAME, not Amazon Linux 2023: choose another source_ami"
# The image is registered for UEFI alone.
[ -d /sys/firmware/efi ] || fail "this instance did not boot with UEFI: choose an instance_type of the Nitro system"
systemctl --quiet is-enabled amazon-ssm-agent ||
    fail "the agent of Systems Manager is missing, without which nobody could get in: choose a source_ami that is not a minimal one"

chmod 755 "$upload.program"
said=$("$upload.program" --version) || fail "the program does not run here, on $(uname -m): set architecture and program to match"
[ "$said" = "appliance $version" ] || fail "the program is \`$said\`, and the source of this template $version: build the program from it"
"$upload.program" bootstrap install --from instance
# The systemd that will run the units judges them now, and not at the first start.
systemd-analyze verify --man=no --recursive-errors=no /etc/systemd/system/mlflow-appliance*.{socket,service} ||
    fail "systemd does not accept the units"

# SECURITY: only `appliance bootstrap` reads user data. cloud-init would run a script in it as root, before the appliance could
# refuse it. The rest of cloud-init lets the disk grow and names the host; it makes no user and no key, and installs nothing.
cat >/etc/cloud/cloud.cfg.d/99-mlflow-appliance.cfg <<'CONFIGURATION'
allow_userdata: false
vendor_data: {enabled: false}
vendor_data2: {enabled: false}
cloud_init_modules: [growpart, resizefs, set_hostname, update_hostname]
cloud_config_modules: []
cloud_final_modules: []
CONFIGURATION

# SECURITY: Session Manager is the way in: IAM decides who, and no port is open. Masked units do not start even if something
# asks for them. The session of this bake goes on until the instance stops.
systemctl mask sshd.service sshd.socket ec2-instance-connect.service
rm -f /root/.ssh/authorized_keys /home/*/.ssh/authorized_keys /etc/sudoers.d/90-cloud-init-users

# Keys, identity, randomness and logs belong to this instance, and not to those that start from the image. This service would
# write a new seed at shutdown, with which all of them would begin.
systemctl stop systemd-random-seed.service || true
rm -f /etc/ssh/ssh_host_* /var/lib/systemd/{random-seed,credential.secret} /root/.bash_history /home/*/.bash_history
rm -rf /var/lib/cloud/* /var/log/journal/*
# Each instance makes an id of its own. With the word `uninitialized` here, systemd would take that start for a first boot and
# enable every service that the presets of the distribution name.
: >/etc/machine-id
# The files stay, because the programs that write them expect these owners and labels.
find /var/log -type f -exec truncate --size=0 {} +
sync
