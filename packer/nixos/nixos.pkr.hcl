# Bakes what `nix build .#ami` built: writes that very image to a volume, reads it back, registers a snapshot of it and
# publishes its id. Nothing is installed or changed on the way, so what Nix built is what boots. docs/deploy/ami.md has the rest.

variable "image" {
  description = "The directory that `nix build .#ami` made: one raw disk image, and nix-support/image-info.json, which says for what architecture it is."
  type        = string
  default     = "result"

  validation {
    condition     = fileexists("${var.image}/nix-support/image-info.json")
    error_message = "The directory in `image` has no nix-support/image-info.json. Run `nix build .#ami` first, or say where its result is: -var image=DIRECTORY."
  }
  validation {
    condition     = !fileexists("${var.image}/nix-support/image-info.json") || length(fileset(var.image, "*.{img,raw}")) == 1
    error_message = "The directory in `image` must have exactly one raw disk image, *.img or *.raw. A VHD or qcow2 does not boot when it is written to a volume: build the format \"raw\"."
  }
  validation {
    condition     = !fileexists("${var.image}/nix-support/image-info.json") || can(regex("^(x86_64|aarch64)-linux$", jsondecode(file("${var.image}/nix-support/image-info.json")).system))
    error_message = "The field `system` of nix-support/image-info.json must be x86_64-linux or aarch64-linux: EC2 has no other architecture that NixOS runs on."
  }
  validation {
    condition     = !fileexists("${var.image}/nix-support/image-info.json") || can(regex("^uefi$", jsondecode(file("${var.image}/nix-support/image-info.json")).boot_mode))
    error_message = "The field `boot_mode` of nix-support/image-info.json must be uefi, because the image is registered so: set `ec2.efi = true` and build again."
  }
}

variable "surrogate_device" {
  description = "The name under which the instance sees the volume to be written. Amazon Linux makes it a link to the NVMe device."
  type        = string
  default     = "/dev/sdf"

  validation {
    condition     = can(regex("^/[a-zA-Z0-9/_.-]+$", var.surrogate_device))
    error_message = "The device must be an absolute path, such as /dev/sdf."
  }
}

variable "temporary_directory" {
  description = "Where the compressed image waits for its upload, on this machine. It needs about a third of the image's size."
  type        = string
  default     = env("TMPDIR")

  validation {
    condition     = can(regex("^(/.*)?$", var.temporary_directory))
    error_message = "The temporary directory must be an absolute path."
  }
}

locals {
  bake         = "nixos"
  system       = "NixOS"
  directory    = abspath(var.image)
  info         = try(jsondecode(file("${local.directory}/nix-support/image-info.json")), {})
  disk         = "${local.directory}/${join("", fileset(local.directory, "*.{img,raw}"))}"
  architecture = try(local.info.system, "") == "aarch64-linux" ? "arm64" : "x86_64"
  version      = try(local.info.version, local.info.label, "unknown")
  origin = {
    revision = coalesce(var.revision, try(local.info.revision, null), "unknown")
    # The path in the Nix store, whose hash covers everything that the image was built from.
    source  = try(local.info.closure, local.disk)
    closure = try(regex("/nix/store/([0-9a-z]{32})-", local.info.closure)[0], "unknown")
  }

  # The image says how large it is, or is taken to be no larger than 4 GiB; the provisioners look at the image itself. It has
  # no free space: the first boot lets the root file system grow into what the volume has beyond it.
  volume_size = var.volume_size > 0 ? var.volume_size : 2 + ceil(try(local.info.logical_bytes, 4294967296) / 1073741824)
  root        = "/dev/sdf"
  # The volume to be written, and the instance's own disk, which holds the compressed image for a while.
  volumes = { "/dev/sdf" = local.volume_size, "/dev/xvda" = 16 }

  # Compressed, its hash beside it, first here and then there.
  work = "${coalesce(var.temporary_directory, "/tmp")}/mlflow-appliance-${uuidv4()}"
}

build {
  sources = ["source.amazon-ebssurrogate.appliance"]

  provisioner "shell-local" {
    command = "'${path.root}/compress-image.sh' '${local.disk}' '${local.work}' ${local.volume_size} '${try(local.info.sha256, "")}'"
  }
  provisioner "file" {
    source      = "${local.work}/expected"
    destination = "${local.upload}.expected"
    generated   = true
  }
  provisioner "shell" {
    script          = "${path.root}/write-image.sh"
    remote_path     = "${local.upload}.sh"
    execute_command = "sudo bash '{{ .Path }}' check '${var.surrogate_device}' '${local.upload}'"
  }
  provisioner "file" {
    source      = "${local.work}/image.gz"
    destination = "${local.upload}.gz"
    generated   = true
  }
  provisioner "shell" {
    script          = "${path.root}/write-image.sh"
    remote_path     = "${local.upload}.sh"
    execute_command = "sudo bash '{{ .Path }}' write '${var.surrogate_device}' '${local.upload}'"
  }

  post-processors {
    post-processor "manifest" {
      output      = var.manifest
      custom_data = merge(local.tags, { volume_size = format("%d", local.volume_size) })
    }
    post-processor "shell-local" {
      command = "'${path.root}/../publish.sh' '${var.manifest}' '${var.parameter_prefix}' '${local.architecture}'"
    }
  }
}
