# For scripts to source, after tools.sh: it sets `nix` to the command of a Nix of 2.18 or later. Where there is none it is
# Debian's package, unpacked and started with its own libraries. Nothing is installed.

unpacked_nix() {
    local root=$cache/nix-trixie-1 libraries
    if [ ! -e "$root" ]; then
        rm -rf "$root.new"
        mmdebstrap --quiet --variant=extract --include=nix-bin,git,ca-certificates trixie "$root.new"
        mv "$root.new" "$root"
    fi
    libraries=$(echo "$root"/usr/lib/*-linux-gnu)
    nix=("$libraries"/ld-linux-*.so.* --argv0 nix --library-path "$libraries" "$root/usr/bin/nix")
}

nix=(nix)
version=$(nix --version 2>/dev/null | grep -oE '[0-9.]+$' || echo 0)
[ "$(printf '%s\n' 2.18 "$version" | sort -V | head -1)" = 2.18 ] || unpacked_nix
