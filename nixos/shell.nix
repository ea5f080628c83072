# `nix develop`: what it takes to work on the appliance, and to bake and launch it.
{
  mkShell,
  awscli2,
  cargo-auditable,
  cargo-deny,
  clippy,
  coldsnap,
  mlflow-appliance,
  packer,
  python3,
  rust-analyzer,
  rustfmt,
}:

mkShell {
  inputsFrom = [ mlflow-appliance ];
  packages = [
    awscli2
    cargo-auditable
    cargo-deny
    clippy
    coldsnap
    packer
    python3
    rust-analyzer
    rustfmt
  ];
}
