{
  description = "Use Amazon SageMaker managed MLflow from anywhere, with any HTTP client and no AWS credentials";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      # Each system and the architecture's name, in which the images are called.
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
      forAll = function: lib.mapAttrs (system: _: function (packagesOf system)) systems;
      image = system: self.nixosConfigurations."appliance-${systems.${system}}";
    in
    {
      overlays.default = final: _: {
        mlflow-appliance = final.callPackage ./nixos/package.nix { };
        mlflow-appliance-static = final.pkgsStatic.mlflow-appliance.override {
          rustflags = [ "-Cprofile-use=${final.callPackage ./nixos/profile.nix { }}" ];
        };
      };

      packages = forAll (
        pkgs:
        {
          default = pkgs.mlflow-appliance-static;
          appliance = pkgs.mlflow-appliance-static;
          sbom = pkgs.callPackage ./nixos/sbom.nix { };
          ami = (image pkgs.stdenv.hostPlatform.system).config.system.build.ami;
        }
        // lib.optionalAttrs pkgs.stdenv.hostPlatform.isx86_64 {
          appliance-aarch64 = pkgs.pkgsCross.aarch64-multiplatform-musl.pkgsStatic.mlflow-appliance;
        }
      );

      apps = forAll (pkgs: {
        default = {
          type = "app";
          program = lib.getExe pkgs.mlflow-appliance-static;
          meta = { inherit (pkgs.mlflow-appliance.meta) description; };
        };
      });

      nixosModules.default =
        { lib, pkgs, ... }:
        {
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
                # An instance has no use for the sandbox.
                services.mlflow-appliance.package = self.packages.${system}.appliance.override {
                  withSandbox = false;
                };
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
          image = image pkgs.stdenv.hostPlatform.system;
        }
      );

      devShells = forAll (pkgs: {
        default = pkgs.callPackage ./nixos/shell.nix { };
      });

      formatter = forAll (pkgs: pkgs.nixfmt-tree);
    };
}
