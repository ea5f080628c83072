# The options below `services.mlflow-appliance.settings`, from the list that the binary prints: `appliance generate options`.
{ lib }:

let
  inherit (lib) types;
  list = lib.importJSON ./options.json;

  # By the placeholders of `appliance serve --help`. What a type lets through, `appliance check` looks at in the build.
  kinds = {
    ARN = types.strMatching "arn:.+";
    BOOL = types.bool;
    DURATION = types.strMatching "[0-9].*[a-z]";
    NUMBER = types.ints.unsigned;
    SHARE = types.numbers.between 0 1;
    SIZE = types.either types.ints.unsigned types.str;
    URL = types.strMatching "off|https?://.+";
  };

  option =
    entry:
    lib.nameValuePair entry.key (
      lib.mkOption {
        type = types.nullOr (kinds.${entry.kind} or types.str);
        default = null;
        description = entry.help;
      }
    );
  text =
    description:
    lib.mkOption {
      type = types.nullOr types.str;
      default = null;
      inherit description;
    };

  target = types.submodule {
    options = lib.listToAttrs (map option (lib.filter (entry: entry.of-a-target) list.options)) // {
      name = text "The name of the target, in its path, in grants and in the log.";
      default = lib.mkOption {
        type = types.nullOr types.bool;
        default = null;
        description = "True if the target is served at `/`.";
      };
    };
  };
  texts =
    description:
    lib.mkOption {
      type = types.nullOr (types.either types.str (types.listOf types.str));
      default = null;
      inherit description;
    };
  keyed =
    what: keys: lists:
    types.submodule {
      options =
        lib.genAttrs keys (key: text "`${key}` of this ${what}.")
        // lib.genAttrs lists (key: texts "`${key}` of this ${what}.");
    };
  caller = keyed "grant" list.keys-of-a-caller list.lists-of-a-caller;
  issuer = keyed "issuer" list.keys-of-an-issuer list.lists-of-an-issuer;
  tables =
    type: description:
    lib.mkOption {
      type = types.listOf type;
      default = [ ];
      inherit description;
    };
in
types.submodule {
  options = lib.listToAttrs (map option list.options) // {
    target = tables target "The managed MLflows, if there are several.";
    caller = tables caller "Who else may come in: holders of client certificates and of issuers' tokens, people who have signed in.";
    issuer = tables issuer "The issuers whose tokens (JWTs) are trusted.";
  };
}
