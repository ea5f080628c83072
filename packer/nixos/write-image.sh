#!/usr/bin/env bash
# Writes the uploaded image to a volume and reads it back. Runs as root on the instance that the volume is attached to.
#
# usage: write-image.sh check|write DEVICE UPLOAD
# UPLOAD.expected has the bytes and the SHA-256 of the image, UPLOAD.gz the image, UPLOAD.sh is this. `check` comes before
# the upload of the image. A run that fails, and the last one, remove all three.
set -euo pipefail

step=$1 device=$2 upload=$3
finished=no
finish() {
    [ "$finished" = yes ] || rm -f "$upload".{expected,gz,sh}
}
trap finish EXIT

fail() {
    echo "$*" >&2
    exit 1
}

read -r bytes sum <"$upload.expected"

# A volume can come a little later than the instance that it is attached to.
for _ in {1..60}; do
    [ ! -e "$device" ] || break
    sleep 1
done
[ -e "$device" ] || fail "there is no $device: is the instance of the Nitro system, and an Amazon Linux 2023?"

if [ -b "$device" ]; then
    size=$(blockdev --getsize64 "$device")
    [ -z "$(lsblk -nro MOUNTPOINTS "$device" | tr -d '\n')" ] || fail "$device is mounted: it is not the volume that was made for the image"
else
    size=$(stat -L -c %s "$device")
fi
[ "$size" -ge "$bytes" ] || fail "$device has $size bytes, but the image has $bytes: set volume_size to $(((bytes + (1 << 30) - 1) >> 30)) or more"

if [ "$step" = check ]; then
    finished=yes
    exit 0
fi

# A new volume reads as zeros, so that zeros need not be written. That keeps the snapshot as small as the image's content;
# a volume that was not new would not read back as the image.
gunzip -c "$upload.gz" | dd of="$device" bs=512K iflag=fullblock conv=sparse,notrunc,fsync status=none
# After this, reads come from the volume, not from memory.
sync
[ ! -b "$device" ] || blockdev --flushbufs "$device"
read -r found _ < <(head -c "$bytes" "$device" | sha256sum)
[ "$found" = "$sum" ] || fail "$device does not read back as the image: SHA-256 $found, expected $sum; nothing is registered"
echo "$device reads back as the image: $bytes bytes, SHA-256 $sum"
