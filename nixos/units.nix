# The units that `appliance bootstrap install` writes, from the same files: path below the units' directory -> text.
{ program }:

let
  files = ../src/bootstrap/files;
  read = name: builtins.readFile (files + "/${name}");
  # As `install` does it: the line break at its end belongs to the line that it replaces.
  hardening =
    let
      text = read "hardening.conf";
    in
    builtins.substring 0 (builtins.stringLength text - 1) text;
  render = builtins.replaceStrings [ "@HARDENING@" "@PROGRAM@" ] [ hardening program ];
  unit = name: render (read name);
in
{
  # For a unit of one's own.
  inherit render;
  serve = {
    "mlflow-appliance.service" = unit "mlflow-appliance.service";
    "mlflow-appliance.socket" = unit "mlflow-appliance.socket";
  };
  # The units that an instance has beside them.
  instance = {
    "mlflow-appliance-bootstrap.service" = unit "mlflow-appliance-bootstrap.service";
    "mlflow-appliance-signal.service" = unit "mlflow-appliance-signal.service";
    "mlflow-appliance.service.d/instance.conf" = read "instance.conf";
    "mlflow-appliance.socket.d/instance.conf" = read "instance-socket.conf";
  };
}
