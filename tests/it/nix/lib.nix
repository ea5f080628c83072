# Replaces the part of nixpkgs' library that `nixos/` uses, for machines without nixpkgs. It checks types, but merges nothing.
let
  type = name: check: { inherit name check; };
  isPath = value: builtins.isString value;
in
rec {
  inherit (builtins)
    filter
    hasAttr
    listToAttrs
    mapAttrs
    ;
  importJSON = path: builtins.fromJSON (builtins.readFile path);
  importTOML = path: builtins.fromTOML (builtins.readFile path);

  nameValuePair = name: value: { inherit name value; };
  filterAttrs =
    keep: set:
    listToAttrs (
      map (name: nameValuePair name set.${name}) (
        filter (name: keep name set.${name}) (builtins.attrNames set)
      )
    );
  mapAttrsToList = function: set: map (name: function name set.${name}) (builtins.attrNames set);
  mapAttrs' = function: set: listToAttrs (mapAttrsToList function set);
  genAttrs = names: function: listToAttrs (map (name: nameValuePair name (function name)) names);
  optionals = condition: list: if condition then list else [ ];
  optionalString = condition: text: if condition then text else "";
  optionalAttrs = condition: set: if condition then set else { };
  last = list: builtins.elemAt list (builtins.length list - 1);

  hasPrefix = prefix: text: builtins.substring 0 (builtins.stringLength prefix) text == prefix;
  splitString = separator: text: filter builtins.isString (builtins.split separator text);
  toInt = builtins.fromJSON;
  versionAtLeast = version: required: builtins.compareVersions version required >= 0;
  assertMsg = condition: message: condition || throw message;
  getExe = package: "${package}/bin/${package.meta.mainProgram}";

  fileset = {
    unions = files: files;
    fileFilter = _: directory: directory;
    toSource = { root, fileset }: map toString fileset;
  };
  licenses.asl20 = "Apache-2.0";
  platforms.linux = [ ];

  mkOption = option: { isOption = true; } // option;
  mkEnableOption =
    description:
    mkOption {
      type = types.bool;
      default = false;
      inherit description;
    };
  mkIf = condition: content: { inherit condition content; };
  mkDefault = value: value;
  literalExpression = text: text;

  types = {
    bool = type "a boolean" builtins.isBool;
    str = type "a string" builtins.isString;
    package = type "a package" (value: builtins.isAttrs value && value ? outPath);
    numbers.between =
      lowest: highest:
      type "a number from ${toString lowest} to ${toString highest}" (
        value: (builtins.isInt value || builtins.isFloat value) && value >= lowest && value <= highest
      );
    ints.unsigned = type "a whole number" (value: builtins.isInt value && value >= 0);
    strMatching =
      pattern:
      type "a string matching ${pattern}" (
        value: builtins.isString value && builtins.match pattern value != null
      );
    nullOr = inner: type "null or ${inner.name}" (value: value == null || inner.check value);
    either =
      one: other: type "${one.name} or ${other.name}" (value: one.check value || other.check value);
    listOf =
      inner:
      type "a list of ${inner.name}" builtins.isList
      // {
        read = place: map (read inner "${place}[]");
      };
    attrsOf =
      inner:
      type "a set of ${inner.name}" builtins.isAttrs
      // {
        read = place: mapAttrs (name: read inner "${place}.${name}");
      };
    submodule =
      { options }:
      type "a set" builtins.isAttrs
      // {
        read = place: given: readAll options place given;
      };
  };

  # The value of an option, checked.
  read =
    type: place: value:
    if type.check value then
      (type.read or (_: value: value)) place value
    else
      throw "${place} is ${builtins.toJSON value}, which is not ${type.name}";
  # The values of options, with their defaults, and nothing that is no option.
  readAll =
    options: place: given:
    let
      unknown = filter (name: !hasAttr name options) (builtins.attrNames given);
    in
    assert assertMsg (unknown == [ ]) "${place}.${builtins.head unknown} does not exist";
    mapAttrs (
      name: option: read option.type "${place}.${name}" (given.${name} or option.default)
    ) options;
}
