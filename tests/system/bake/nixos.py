"""The bake of the disk that Nix built, with a stand-in for that disk and for the volume. Either can be wrong."""

import hashlib
import json
import os
import random

import either
import recorded
from scene import bake, clean, directory, holds, run, same

STORE = "a1b2c3d4" * 4
SIZE = 8 * 2**20


def image(name, system="x86_64-linux", content=None, **changes):
    """Makes what `nix build .#ami` leaves: a link to a directory with a link to an image that has holes, and with the facts about it."""
    place, output = directory / name, directory / f"{name}-of-nix"
    (output / "nix-support").mkdir(parents=True)
    place.symlink_to(output)
    if content is None:
        content = bytearray(6 * 2**20 + 512)
        for start in (0, 3 * 2**20 + 4096, len(content) - 300000):
            content[start : start + 300000] = random.randbytes(300000)
    store = directory / f"{name}.raw"
    store.write_bytes(content)
    (place / "nixos.img").symlink_to(store)
    info = {"system": system, "boot_mode": "uefi", "version": "26.05.1", "logical_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "closure": f"/nix/store/{STORE}-nixos-system"}
    (place / "nix-support/image-info.json").write_text(json.dumps({**info, **changes}))
    return place


def disk(size, garbage=False):
    """A volume: new, which reads as zeros, or one that was used before."""
    path = directory / "volume"
    path.write_bytes(random.randbytes(size) if garbage else b"")
    os.truncate(path, size)
    return path


def start(place, volume, **options):
    return bake("nixos", image=str(place), surrogate_device=str(volume), revision=recorded.REVISION, **options)


def succeeds(architecture, system, temporary_key):
    place, volume = image(f"result-{architecture}", system), disk(SIZE)
    before = either.succeeds(f"NixOS for {architecture}", lambda **options: start(place, volume, **options), temporary_key=temporary_key)
    content = (place / "nixos.img").read_bytes()
    with open(volume, "rb") as device:
        same("the volume begins with the image", hashlib.sha256(device.read(len(content))).hexdigest(), hashlib.sha256(content).hexdigest())
        holds("and ends as it was", not any(device.read()))
    recorded.check("nixos", architecture, "26.05.1", {"/dev/sdf": "3", "/dev/xvda": "16"}, "/dev/sdf", "3", before, source=f"/nix/store/{STORE}-nixos-system", closure=STORE)


def elsewhere():
    place = image("result-shared")
    # The volume is as large as EC2 is asked for, or larger.
    again = lambda **options: start(place, disk(2**30), **options)
    either.copied_and_shared("NixOS", lambda **options: again(volume_size=5, **options), {"/dev/sdf": "5", "/dev/xvda": "16"})
    either.copied("NixOS", again)


def failures():
    place, large = image("result-failing"), image("result-large", content=b"")
    os.truncate(large / "nixos.img", 2**30 + 1)
    said, _ = either.fails("a volume that is too small", "does not fit on a volume of 1 GiB: set volume_size to 2 or more", lambda: start(large, disk(SIZE), volume_size=1))
    holds("nothing is uploaded then", "Uploading" not in said, said)
    clean("a volume that is too small")

    changed = image("result-changed", sha256="0" * 64)
    said, _ = either.fails("an image that is not what was built", "has the SHA-256", lambda: start(changed, disk(SIZE)))
    holds("nothing is uploaded then", "Uploading" not in said, said)
    clean("an image that is not what was built")

    said, _ = either.fails("a device that is too small", f"{directory}/volume has 6291456 bytes, but the image has 6291968", lambda: start(place, disk(6 * 2**20)))
    holds("no image is uploaded then", "expected =>" in said and "image.gz =>" not in said, said)
    clean("a device that is too small")

    either.fails("a device that does not read back", "does not read back as the image: SHA-256", lambda: start(place, disk(SIZE, garbage=True)))
    clean("a device that does not read back")


def common():
    again = lambda **options: start(directory / "result-failing", disk(SIZE), **options)
    either.refused(again)
    either.interrupted(again, lambda: holds("the compressed image is there", any(directory.glob("tmp/mlflow-appliance-*/image.gz"))))


def variables():
    """Tries directories that hold no image that could be baked."""
    two, none = image("result-two"), image("result-none")
    (two / "second.raw").symlink_to(two / "nixos.img")
    (none / "nixos.img").rename(none / "nixos.vhd")
    for what, phrase in [
        (directory / "nowhere", "has no nix-support/image-info.json"),
        (two, "must have exactly one raw disk image"),
        (none, "must have exactly one raw disk image"),
        (image("result-other", system="riscv64-linux"), "must be x86_64-linux or aarch64-linux"),
        (image("result-bios", boot_mode="legacy-bios"), "must be uefi"),
    ]:
        code, said, _ = run("nixos", "validate", image=str(what))
        same(f"{what} is rejected {said}", code, 1)
        holds(f"why {what} is refused", phrase in " ".join(said.split()), said)
