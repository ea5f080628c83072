# The binary for instances: static, without the commands that they have no use for, laid out by a profile of itself at work.
# What serves many callers pays for the profile, which takes two builds more; what people build for themselves does not.
{ callPackage, mlflow-appliance-static }:

let
  plain = mlflow-appliance-static.override { withSandbox = false; };
  profile = callPackage ./profile.nix { package = plain; };
in
(plain.override { rustflags = [ "-Cprofile-use=${profile}" ]; }).overrideAttrs (old: {
  passthru = old.passthru or { } // {
    inherit profile;
  };
})
