# Returns what the packages are made of, where there is no nixpkgs: the package that people build, and the one for instances
# with the package that records its profile.
{ rustc }:

let
  lib = import ./lib.nix;
  platform = {
    canExecute = _: true;
    emulatorAvailable = _: true;
    emulator = _: "";
  };
  pkgs = {
    inherit lib;
    stdenv.buildPlatform = platform;
    stdenv.hostPlatform = platform;
    buildPackages = { };
    installShellFiles = "installShellFiles";
    rustPlatform.buildRustPackage = set: set;
    rustc.version = rustc;
    python3 = { };
    runCommand =
      name: environment: _:
      environment // { outPath = "/nix/store/00000000000000000000000000000000-${name}"; };
    mlflow-appliance-static = package { buildType = "dist"; };
    inherit callPackage;
  };
  callPackage =
    file: arguments:
    let
      function = import file;
    in
    function (builtins.intersectAttrs (builtins.functionArgs function) pkgs // arguments);
  # With the functions that nixpkgs gives to every package.
  package =
    arguments:
    adjustable (callPackage ../../../nixos/package.nix arguments)
    // {
      override = more: package (arguments // more);
    };
  adjustable =
    made:
    made
    // {
      outPath = "/nix/store/00000000000000000000000000000000-${made.pname}";
      overrideAttrs =
        change: adjustable (made // (if builtins.isFunction change then change made else change));
    };
  facts = package: {
    inherit (package)
      version
      src
      env
      buildNoDefaultFeatures
      buildType
      checkType
      stripAllList
      ;
  };
  instance = callPackage ../../../nixos/instance.nix { };
in
{
  package = facts (package { });
  instance = facts instance;
  counting = facts instance.passthru.profile.passthru.counting;
}
