#!/usr/bin/env bash
# Compresses a disk image for its way to the instance that writes it, and notes what is expected there.
#
# usage: compress-image.sh IMAGE DIRECTORY GIB SHA256
# Makes DIRECTORY with image.gz and expected (bytes and SHA-256 of IMAGE), unless IMAGE is larger than a volume of GIB, or
# is not what was built: SHA256 is what its build says, and may be empty.
# Removes it when Packer ends.
set -euo pipefail

image=$1 directory=$2 gib=$3 built=$4
bytes=$(stat -L -c %s "$image")
if [ "$bytes" -gt $((gib << 30)) ]; then
    echo "$image has $bytes bytes and does not fit on a volume of $gib GiB: set volume_size to $(((bytes + (1 << 30) - 1) >> 30)) or more" >&2
    exit 1
fi

sum=$(sha256sum <"$image" | cut -d' ' -f1)
if [ -n "$built" ] && [ "$sum" != "$built" ]; then
    echo "$image has the SHA-256 $sum, but nix-support/image-info.json says $built: build it again" >&2
    exit 1
fi

umask 077
mkdir "$directory"
# Packer does not clean up when it is interrupted, so this waits for its end, however it ends. Between it and this there are
# a shell or two; where it has another name, it is whatever began it whose end is waited for.
packer=$$
while name=$(ps -o comm= -p "$packer") && [[ ${name##*/} != packer* || ${name##*/} = packer-shell* ]]; do
    parent=$(ps -o ppid= -p "$packer")
    [ "$parent" -gt 1 ] || break
    packer=${parent// /}
done
(
    trap '' HUP INT TERM
    while kill -0 "$packer"; do sleep 1; done
    rm -rf "$directory"
) </dev/null >/dev/null 2>&1 &

echo "$bytes $sum" >"$directory/expected"
# The output of pigz is gzip's, made on all cores.
"$(command -v pigz || command -v gzip)" -c <"$image" >"$directory/image.gz"
echo "$bytes bytes, of which $(stat -c %s "$directory/image.gz") are to be uploaded"
