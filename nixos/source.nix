# Selects what the crate is built of, and what a check wants beside it. An edit of the documentation builds nothing anew.
{ lib }:

more:
lib.fileset.toSource {
  root = ../.;
  fileset = lib.fileset.unions (
    [
      ../Cargo.lock
      ../Cargo.toml
      ../build.rs
      # The manifest names the benchmarks, and Cargo wants to see them.
      (lib.fileset.fileFilter (file: file.hasExt "rs") ../benches)
      (lib.fileset.fileFilter (file: file.hasExt "yaml") ../infra)
      ../infra/deployer-policy.json
      ../infra/deployer-policy-fargate.json
      ../src
    ]
    ++ more
  );
}
