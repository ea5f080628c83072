{
  description = "Use Amazon SageMaker managed MLflow from anywhere, with any HTTP client and no AWS credentials";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      # Each system of an image and the architecture's name, in which the images are called.
      systems = {
        x86_64-linux = "x86_64";
        aarch64-linux = "aarch64";
      };
      packagesOf =
        system:
        import nixpkgs {
          inherit system;
          overlays = [ self.overlays.default ];
          # For the shell alone; what is built and baked is free.
          config.allowUnfreePredicate = package: lib.getName package == "packer";
        };
      # People work on Macs as well.
      forAll =
        function:
        lib.genAttrs (
          lib.attrNames systems
          ++ [
            "aarch64-darwin"
            "x86_64-darwin"
          ]
        ) (system: function (packagesOf system));
      image = system: self.nixosConfigurations."appliance-${systems.${system}}";
    in
    {
      overlays.default = final: _: {
        mlflow-appliance = final.callPackage ./nixos/package.nix { };
        mlflow-appliance-static = final.pkgsStatic.mlflow-appliance.override { buildType = "dist"; };
        mlflow-appliance-instance = final.callPackage ./nixos/instance.nix { };
      };

      packages = forAll (
        pkgs:
        let
          inherit (pkgs.stdenv.hostPlatform) system isLinux isx86_64;
        in
        rec {
          default = appliance;
          appliance = if isLinux then pkgs.mlflow-appliance-static else pkgs.mlflow-appliance;
        }
        // lib.optionalAttrs isLinux {
          instance = pkgs.mlflow-appliance-instance;
          container = pkgs.callPackage ./nixos/container.nix { };
          sbom = pkgs.callPackage ./nixos/sbom.nix { };
          ami = (image system).config.system.build.ami;
        }
        // lib.optionalAttrs (isLinux && isx86_64) {
          appliance-aarch64 = pkgs.pkgsCross.aarch64-multiplatform-musl.mlflow-appliance-static;
        }
      );

      apps = forAll (pkgs: {
        default = {
          type = "app";
          program = lib.getExe (pkgs.callPackage ./nixos/app.nix { });
          meta = { inherit (pkgs.mlflow-appliance.meta) description; };
        };
      });

      nixosModules.default =
        { lib, pkgs, ... }:
        {
          # A configuration may import it twice, and a conflict names this file.
          key = "${toString ./flake.nix}#nixosModules.default";
          _file = ./flake.nix;
          imports = [ ./nixos/module.nix ];
          services.mlflow-appliance.package =
            lib.mkDefault
              self.packages.${pkgs.stdenv.hostPlatform.system}.appliance;
        };

      nixosConfigurations = lib.mapAttrs' (
        system: architecture:
        lib.nameValuePair "appliance-${architecture}" (
          lib.nixosSystem {
            modules = [
              self.nixosModules.default
              ./nixos/image.nix
              {
                nixpkgs.hostPlatform = system;
                system.configurationRevision = self.rev or self.dirtyRev or null;
                services.mlflow-appliance.package = self.packages.${system}.instance;
              }
            ];
          }
        )
      ) systems;

      checks = forAll (
        pkgs:
        import ./nixos/checks.nix {
          inherit pkgs;
          module = self.nixosModules.default;
          packages = self.packages.${pkgs.stdenv.hostPlatform.system};
        }
      );

      devShells = forAll (pkgs: {
        default = pkgs.callPackage ./nixos/shell.nix { };
      });

      # The formatter that CI runs, where the release of nixpkgs has it.
      formatter = forAll (
        pkgs: pkgs.nixfmt-tree.override { nixfmtPackage = pkgs.nixfmt-rs or pkgs.nixfmt; }
      );
    };
}
