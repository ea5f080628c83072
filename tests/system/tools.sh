# For scripts to source: tools from crates.io, Python environments and Debian packages. The first two are kept in the
# user's cache directory between runs.

cache=${XDG_CACHE_HOME:-$HOME/.cache}/appliance-tests

# Puts a tool on the PATH, after building it where it is missing: tool NAME VERSION [OPTIONS of cargo install].
# Without options it is built fast and runs slowly, which suits most. None is optimised across crates, which takes minutes, or has
# debug information.
tool() {
    local name=$1 version=$2
    shift 2
    local root
    root=$cache/$name-$version$(printf %s "$@")
    export PATH=$root/bin:$PATH
    command -v "$name" >/dev/null ||
        CARGO_PROFILE_DEV_DEBUG=none CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 cargo install "$name" --version "$version" --locked --quiet --root "$root" "${@:---debug}"
}

# Runs cargo so that binaries carry the list of what they were built from.
auditable() {
    tool cargo-auditable 0.7.7
    cargo auditable "$@"
}

# Sets `venv` to a Python environment with what the lists of requirements name, made anew whenever they change.
environment() {
    venv=$cache/venv-$(cat "$@" | sha256sum | cut -c1-12)
    [ ! -e "$venv/complete" ] || return 0
    python3 -m venv --clear "$venv"
    local list
    for list in "$@"; do
        set -- "$@" -r "$list"
        shift
    done
    "$venv/bin/pip" install --quiet --disable-pip-version-check "$@"
    touch "$venv/complete"
}

# Sets `plugin` to a directory with AWS's plugin for MLflow, to be put beside a client: in an environment it would change what
# every MLflow in it does. The environment of `environment` has what it needs.
plugin() {
    plugin=$cache/sagemaker-mlflow-$1
    [ ! -e "$plugin/complete" ] || return 0
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --upgrade --target "$plugin" "sagemaker-mlflow==$1"
    touch "$plugin/complete"
}

# Installs Debian packages, whose servers are not started.
debian() {
    local as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@"
}
