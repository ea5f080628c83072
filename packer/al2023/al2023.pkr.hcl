# Bakes an image without Nix: installs the static binary on Amazon Linux 2023, closes every way in but Session Manager,
# registers a snapshot of that instance's disk and publishes its id. docs/deploy/ami.md has the rest.

variable "architecture" {
  description = "For which processors: x86_64 or arm64."
  type        = string
  default     = "x86_64"

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "The architecture must be x86_64 or arm64, as EC2 calls them."
  }
}

variable "program" {
  description = "The static binary of that architecture. Empty means where `cargo build` puts it: target/x86_64-unknown-linux-musl/dist/appliance, or aarch64 for arm64."
  type        = string
  default     = ""

  validation {
    condition     = var.program == "" || fileexists(var.program)
    error_message = "There is no such program: build it as docs/deploy/ami.md says, or name another file."
  }
}

locals {
  bake         = "al2023"
  system       = "Amazon Linux 2023"
  architecture = var.architecture
  repository   = abspath("${path.root}/../..")
  built        = "${local.repository}/target/${var.architecture == "arm64" ? "aarch64" : "x86_64"}-unknown-linux-musl/dist/appliance"
  # Of this source; the instance asks the program, which has to be of it.
  version = regex("(?m)^version = \"([^\"]+)\"", file("${local.repository}/Cargo.toml"))[0]
  origin = {
    revision = coalesce(var.revision, "unknown")
    source   = "{{ .SourceAMIName }}"
  }

  # As large as Amazon's image, which a smaller volume could not hold.
  volume_size = var.volume_size > 0 ? var.volume_size : 8
  # The instance's own disk becomes the image.
  root    = "/dev/xvda"
  volumes = { "/dev/xvda" = local.volume_size }
}

build {
  sources = ["source.amazon-ebssurrogate.appliance"]

  provisioner "file" {
    source      = coalesce(var.program, local.built)
    destination = "${local.upload}.program"
  }
  provisioner "shell" {
    script          = "${path.root}/install.sh"
    remote_path     = "${local.upload}.sh"
    execute_command = "sudo bash '{{ .Path }}' '${local.upload}' '${local.version}'"
    # The script removes itself and the access by SSH, so Packer cannot remove it.
    skip_clean = true
  }

  post-processors {
    post-processor "manifest" {
      output      = var.manifest
      custom_data = merge(local.tags, { source = build.SourceAMIName, volume_size = format("%d", local.volume_size) })
    }
    post-processor "shell-local" {
      command = "'${path.root}/../publish.sh' '${var.manifest}' '${var.parameter_prefix}' '${local.architecture}'"
    }
  }
}
