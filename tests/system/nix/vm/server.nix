# An ordinary NixOS with the module: a certificate of ACME that is renewed, a token, a restart, the firewall. A server of files
# stands for managed MLflow.
{ module }:

let
  name = "server";
  arn = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-app/app-ABCDEF123456";
in
{
  name = "mlflow-appliance-server";

  nodes.server =
    { lib, pkgs, ... }:
    {
      imports = [ module ];
      services.mlflow-appliance = {
        enable = true;
        package = pkgs.mlflow-appliance;
        openFirewall = true;
        useACMEHost = name;
        settings = {
          listen = "0.0.0.0:8443";
          resource-arn = arn;
          upstream-endpoint = "http://127.0.0.1:9000";
          reload-interval = "2s";
        };
      };
      systemd.services.mlflow-appliance.environment = {
        AWS_ACCESS_KEY_ID = "AKIAIOSFODNN7EXAMPLE";
        AWS_SECRET_ACCESS_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
      };
      # No authority answers here, so the module's own first certificate stays until the test renews it.
      security.acme = {
        acceptTerms = true;
        defaults.email = "nobody@example.com";
        certs.${name} = {
          listenHTTP = ":80";
          server = "https://127.0.0.1:1/directory";
        };
      };
      # It listens on all addresses, so that the firewall has something to keep from others.
      systemd.services.upstream = {
        wantedBy = [ "multi-user.target" ];
        serviceConfig.ExecStart = "${lib.getExe pkgs.python3} -m http.server 9000 --directory ${pkgs.writeTextDir "version" "3.0.0"}";
      };
      environment.systemPackages = [
        pkgs.jq
        pkgs.openssl
      ];
      specialisation.changed.configuration.services.mlflow-appliance.settings.workers = 3;
      specialisation.moved.configuration.services.mlflow-appliance.settings.listen =
        lib.mkForce "0.0.0.0:9443";
    };

  nodes.client =
    { pkgs, ... }:
    {
      environment.systemPackages = [ pkgs.openssl ];
    };

  testScript = ''
    start_all()
    server.wait_for_unit("upstream.service")
    server.wait_for_unit("mlflow-appliance.service")
    token = server.succeed(
        "appliance token new --file /etc/mlflow-appliance/tokens.toml --name ci --role read --json | jq -r .token"
    ).strip()

    def status(options="", port=8443):
        return client.succeed(
            f"curl -sk --max-time 20 -o /dev/null -w '%{{http_code}}' {options} https://${name}:{port}/version"
        ).strip()

    def fingerprint():
        return client.succeed(
            "echo | openssl s_client -connect ${name}:8443 2>/dev/null | openssl x509 -noout -fingerprint -sha256"
        ).strip()

    with subtest("a token lets in, and nothing else does"):
        client.wait_until_succeeds(
            f"curl -skf -H 'Authorization: Bearer {token}' https://${name}:8443/version | grep 3.0.0", timeout=60
        )
        assert status() == "401", status()
        assert status("-H 'Authorization: Bearer mlfa_x'") == "401"

    with subtest("the firewall lets its port through alone"):
        client.fail("curl --max-time 5 http://${name}:9000/version")

    with subtest("a restart refuses nobody"):
        server.succeed("systemctl --no-block restart mlflow-appliance")
        for _ in range(10):
            assert status() == "401"
        server.wait_for_unit("mlflow-appliance.service")

    with subtest("a renewed certificate is shown without a restart"):
        process, old = server.succeed("systemctl show -P MainPID mlflow-appliance"), fingerprint()
        server.succeed(
            "cd /var/lib/acme/${name}"
            " && openssl req -x509 -newkey rsa:2048 -nodes -days 7 -subj /CN=${name} -keyout /root/key.pem -out /root/new.pem"
            # As the module's script does it, which keeps owner, group and mode.
            " && cat /root/new.pem > fullchain.pem && cat /root/key.pem > key.pem"
            " && test $(stat -c %a:%G key.pem) = 640:acme"
        )
        new = server.succeed("openssl x509 -noout -fingerprint -sha256 -in /root/new.pem").strip()
        assert old != new
        for _ in range(30):
            if fingerprint() == new:
                break
            client.sleep(1)
        assert fingerprint() == new, "the old certificate is still shown"
        assert server.succeed("systemctl show -P MainPID mlflow-appliance") == process, "it was restarted"

    system = server.succeed("readlink -f /run/current-system").strip()

    def switch_to(name):
        code, said = server.execute(f"{system}/specialisation/{name}/bin/switch-to-configuration test 2>&1")
        print(said)
        # 4 is the certificate's order, which failed before.
        assert code in (0, 4), code
        server.wait_for_unit("mlflow-appliance.service")

    def opened():
        return server.succeed("systemctl show -P ActiveEnterTimestampMonotonic mlflow-appliance.socket")

    with subtest("a switch to other settings refuses nobody"):
        process, socket = server.succeed("systemctl show -P MainPID mlflow-appliance"), opened()
        client.succeed(
            "touch /tmp/go; (while [ -e /tmp/go ]; do"
            " curl -sk --max-time 20 -o /dev/null -w '%{http_code}\\n' https://${name}:8443/version; done"
            " >/tmp/statuses; touch /tmp/done) >/dev/null 2>&1 &"
        )
        client.wait_until_succeeds("test -s /tmp/statuses", timeout=30)
        switch_to("changed")
        client.succeed("rm /tmp/go")
        client.wait_for_file("/tmp/done", timeout=30)
        statuses = client.succeed("sort /tmp/statuses | uniq").split()
        assert statuses == ["401"], statuses
        assert server.succeed("systemctl show -P MainPID mlflow-appliance") != process, "it was not restarted"
        assert opened() == socket, "the socket was closed"

    with subtest("a switch to another address moves the socket"):
        switch_to("moved")
        assert status(port=9443) == "401"
        client.fail("curl -sk --max-time 5 https://${name}:8443/version")
  '';
}
