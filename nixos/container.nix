# An image of a container with the binary for instances and the authorities that it trusts. The result is a script that writes
# the image to its standard output: `./result | docker load`.
{
  dockerTools,
  lib,
  mlflow-appliance-instance,
}:

dockerTools.streamLayeredImage {
  name = "mlflow-appliance";
  tag = mlflow-appliance-instance.version;
  contents = [ dockerTools.caCertificates ];
  # Large request bodies pass through /var/tmp.
  extraCommands = "mkdir -p -m 1777 tmp var/tmp";
  config = {
    Entrypoint = [ (lib.getExe mlflow-appliance-instance) ];
    Cmd = [ "serve" ];
    # Loopback cannot be reached from outside. Without a way to tell callers apart, the appliance says so and ends.
    Env = [ "APPLIANCE_LISTEN=0.0.0.0:5000" ];
    ExposedPorts."5000/tcp" = { };
    User = "65534:65534";
    # The command reads the variables of `serve`. Docker counts in nanoseconds.
    Healthcheck = {
      Test = [
        "CMD"
        (lib.getExe mlflow-appliance-instance)
        "healthcheck"
      ];
      Interval = 30000000000;
      Timeout = 5000000000;
      StartPeriod = 10000000000;
    };
  };
}
