# `nix run` starts this: the appliance beside an MLflow that runs on NixOS as well, for its sandbox. An MLflow of your own that is
# earlier on the PATH comes first.
{
  arrow-cpp,
  lib,
  makeWrapper,
  mlflow-appliance,
  python3,
  runCommand,
}:

let
  mlflow = python3.withPackages (packages: [
    packages.mlflow
    # MLflow reads S3 with it, and does not bring it.
    packages.boto3
  ]);
  # MLflow needs Arrow, which nixpkgs cannot build for Macs with Intel's processors. The sandbox installs an MLflow there.
  path = lib.optionalString (!arrow-cpp.meta.broken) "--suffix PATH : ${lib.makeBinPath [ mlflow ]}";
in
runCommand "appliance-with-mlflow"
  {
    nativeBuildInputs = [ makeWrapper ];
    inherit (mlflow-appliance) meta;
  }
  ''
    makeWrapper ${lib.getExe mlflow-appliance} $out/bin/${mlflow-appliance.meta.mainProgram} ${path}
  ''
