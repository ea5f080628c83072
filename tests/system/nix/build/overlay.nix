# The packages that the flake names, from rustup's toolchain at /rust and the Debian tree at /usr.
final: previous:

let
  inherit (final) lib;

  # made NAME SCRIPT: a package without any of nixpkgs in it.
  made =
    name: script:
    derivation {
      inherit name;
      inherit (final.stdenv.buildPlatform) system;
      builder = "/bin/bash";
      args = [
        "-c"
        ''
          export PATH=/usr/bin
          ${script}
        ''
      ];
    }
    // {
      pname = name;
      outputs = [ "out" ];
      meta = { };
    };
  linked =
    name: from: programs:
    made name "mkdir -p $out/bin; for one in ${toString programs}; do ln -s ${from}/$one $out/bin/; done";

  version = (lib.importTOML ../../../../rust-toolchain.toml).toolchain.channel;
  rustc =
    linked "rustc" "/rust/bin" [
      "rustc"
      "rustdoc"
    ]
    // {
      inherit version;
      targetPlatforms = lib.platforms.all;
      badTargetPlatforms = [ ];
      llvmPackages.llvm = linked "llvm" "/usr/lib/llvm-19/bin" [ "llvm-profdata" ];
    };
  cargo = linked "cargo" "/rust/bin" [ "cargo" ] // {
    inherit version;
  };
  python = linked "python3" "/usr/bin" [ "python3" ] // {
    interpreter = "/usr/bin/python3";
    # Otherwise scripts of nixpkgs would be linted.
    isPy3k = false;
    # The tree has the packages that are asked for.
    withPackages = _: python;
  };
in
{
  inherit rustc cargo;
  rustPlatform = final.makeRustPlatform { inherit rustc cargo; };
  # buildRustPackage does without it where it is broken.
  cargo-auditable.meta.broken = true;

  bash =
    linked "bash" "/usr/bin" [
      "bash"
      "sh"
    ]
    // {
      shellPath = "/bin/bash";
    };
  runtimeShell = "/bin/bash";
  diffutils = linked "diffutils" "/usr/bin" [ "diff" ];
  jq = linked "jq" "/usr/bin" [ "jq" ];
  patchelf = null;
  # The layers of a container are packed with it, and nothing there changes an owner.
  fakeroot = made "fakeroot" "mkdir -p $out/bin; ln -s /usr/bin/env $out/bin/fakeroot";
  python3 = python;
  # It writes the TOML of settings, for which nixpkgs has a program of its own.
  formats = previous.formats // {
    toml =
      arguments:
      previous.formats.toml arguments
      // {
        generate =
          name: value:
          made name "/usr/bin/python3 -c 'import json, sys, tomli_w; print(tomli_w.dumps(json.load(sys.stdin)))' < ${final.writeText "settings.json" (builtins.toJSON value)} > $out";
      };
  };
  # Directories are joined with it.
  lndir = made "lndir" ''
    mkdir -p $out/bin
    printf '#!/bin/sh\nexec cp --recursive --symbolic-link --no-clobber --no-preserve=mode "$2/." "$3"\n' > $out/bin/lndir
    chmod +x $out/bin/lndir
  '';
  cacert = made "cacert" ''
    mkdir -p $out/etc/ssl/certs
    cat /usr/share/ca-certificates/mozilla/*.crt > $out/etc/ssl/certs/ca-bundle.crt
  '';
}
