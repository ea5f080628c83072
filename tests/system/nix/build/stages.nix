# Gives nixpkgs its compilers: they are those of the Debian tree that the sandbox mounts at /usr.
{ nixpkgs }:
{
  lib,
  localSystem,
  crossSystem,
  config,
  overlays,
  crossOverlays ? [ ],
  ...
}:

let
  # Its own stages for a machine that has compilers, without the last, which would need more than compilers.
  native = lib.sublist 0 2 (
    import (nixpkgs + "/pkgs/stdenv/native") {
      inherit
        lib
        localSystem
        config
        overlays
        ;
      crossSystem = localSystem;
    }
  );

  prefix = "${crossSystem.config}-";
  cpu = localSystem.parsed.cpu.name;
  musl = derivation {
    name = "musl-gcc";
    inherit (localSystem) system;
    builder = "/bin/bash";
    args = [
      "-c"
      ''
        export PATH=/usr/bin
        mkdir -p $out/bin $out/nix-support
        for name in cc gcc; do
          printf '#!/bin/sh\nREALGCC=/usr/bin/${cpu}-linux-gnu-gcc exec /usr/bin/${cpu}-linux-musl-gcc "$@"\n' > $out/bin/${prefix}$name
          chmod +x $out/bin/${prefix}$name
        done
        for name in ar ranlib strip nm objcopy ld as; do ln -s /usr/bin/$name $out/bin/${prefix}$name; done
        echo 'export CC=${prefix}cc AR=${prefix}ar STRIP=${prefix}strip RANLIB=${prefix}ranlib' > $out/nix-support/setup-hook
      ''
    ];
  };
  muslCompiler = musl // {
    targetPrefix = prefix;
    isGNU = true;
    isClang = false;
    bintools = null;
    libc = null;
    cc = { };
  };

  # Like pkgs/stdenv/cross: packages that run here, a compiler for the other platform, and packages of that.
  cross = lib.init native ++ [
    (previous: lib.last native previous // { allowCustomOverrides = true; })
    (vanilla: {
      inherit config overlays;
      selfBuild = false;
      stdenv = vanilla.stdenv.override { targetPlatform = crossSystem; };
      allowCustomOverrides = true;
    })
    (
      buildPackages:
      let
        withoutCompiler = buildPackages.stdenvAdapters.makeStatic (
          buildPackages.stdenv.override {
            buildPlatform = localSystem;
            hostPlatform = crossSystem;
            targetPlatform = crossSystem;
            overrides = _: _: { };
            extraBuildInputs = [ ];
            allowedRequisites = null;
            cc = null;
            hasCC = false;
          }
        );
      in
      {
        inherit config;
        overlays = overlays ++ crossOverlays;
        selfBuild = false;
        stdenvNoCC = withoutCompiler;
        stdenv = withoutCompiler.override {
          hasCC = true;
          cc = muslCompiler;
        };
      }
    )
  ];
in
if crossSystem == localSystem then native else cross
