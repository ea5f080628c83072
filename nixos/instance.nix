# The binary for instances is static, lacks the commands that they have no use for, and is laid out by a profile of itself at
# work. The profile takes two builds more. A binary that serves many callers is worth them; one that people build for
# themselves is not.
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
