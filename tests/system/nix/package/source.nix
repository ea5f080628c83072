# The files that nixos/source.nix selects in a checkout, where there is no nixpkgs: this stands in for `lib.fileset`.
{ checkout }:

let
  inherit (builtins)
    attrNames
    concatMap
    isList
    match
    readDir
    stringLength
    substring
    ;
  kind = path: (readDir (dirOf path)).${baseNameOf path};

  # The files below a path, or the path itself, that satisfy a condition.
  files =
    keep: path:
    if kind path == "directory" then
      concatMap (name: files keep (path + "/${name}")) (attrNames (readDir path))
    else if
      keep {
        name = baseNameOf path;
        type = kind path;
        hasExt = extension: match ".*\\.${extension}" (baseNameOf path) != null;
      }
    then
      [ path ]
    else
      [ ];

  lib.fileset = {
    unions = concatMap (one: if isList one then one else files (_: true) one);
    fileFilter = files;
    toSource =
      { root, fileset }:
      let
        skipped = stringLength (toString root) + 1;
        relative = path: substring skipped (stringLength (toString path)) (toString path);
      in
      map relative fileset;
  };
in
import (checkout + "/nixos/source.nix") { inherit lib; } [ ]
