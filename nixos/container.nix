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
  # Large request bodies pass through /var/tmp. The health check of Fargate's task definition names the program by one path for
  # each image.
  extraCommands = ''
    mkdir -p -m 1777 tmp var/tmp
    mkdir -p usr/bin
    ln -s ${lib.getExe mlflow-appliance-instance} usr/bin/appliance
  '';
  config = {
    Entrypoint = [ (lib.getExe mlflow-appliance-instance) ];
    Cmd = [ "serve" ];
    # Loopback cannot be reached from outside. Without a way to tell callers apart, the appliance says so and ends.
    Env = [ "APPLIANCE_LISTEN=0.0.0.0:5000" ];
    ExposedPorts."5000/tcp" = { };
    User = "65534:65534";
    # A volume that is mounted there is the user's only if the image says so.
    Volumes."/var/tmp" = { };
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
