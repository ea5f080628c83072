# For scripts to source, after tests/system/tools.sh: building static binaries for either architecture.

# Prepares Cargo to build for TARGET, which is x86_64-unknown-linux-musl or aarch64-unknown-linux-musl. Where TARGET is not this
# machine's, it sets `emulator` to a program that runs what is built.
compilers_for() {
    local target=$1 architecture=${1%%-*} package linker compiler
    emulator=
    ! command -v rustup >/dev/null || rustup target add "$target"
    if [ "$architecture" = "$(uname -m)" ]; then
        command -v musl-gcc >/dev/null || debian musl-tools
        return
    fi
    case $architecture in
        aarch64) package=libc6-dev-arm64-cross ;;
        x86_64) package=libc6-dev-amd64-cross ;;
        *) echo "there are no compilers for \`$target\`" >&2; return 1 ;;
    esac
    compiler=$architecture-linux-gnu-gcc emulator=qemu-$architecture-static
    command -v "$compiler" "$emulator" >/dev/null 2>&1 || debian "gcc-${architecture//_/-}-linux-gnu" "$package" qemu-user-static
    # Debian's compiler builds the C sources. The linker that comes with Rust knows every architecture.
    export "CC_${target//-/_}=$compiler"
    linker=CARGO_TARGET_${target//-/_}_LINKER
    export "${linker^^}=rust-lld"
}

# Fails unless BINARY is static and of ARCHITECTURE.
is_static() {
    local binary=$1 architecture=$2
    readelf --file-header "$binary" | grep -qi "Machine:.*${architecture/_/-}"
    if readelf --dynamic "$binary" | grep NEEDED; then
        echo "$binary is not static" >&2
        return 1
    fi
}
