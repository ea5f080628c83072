# Bakes what `nix build .#ami` built: writes that very image to a volume, reads it back, registers a snapshot of it and
# publishes its id. Nothing is installed or changed on the way, so what Nix built is what boots. README.md has the rest.

packer {
  required_version = ">= 1.11.0, < 2.0.0"

  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = "= 1.8.2"
    }
  }
}

locals {
  directory    = abspath(var.image)
  info         = try(jsondecode(file("${local.directory}/nix-support/image-info.json")), {})
  disk         = "${local.directory}/${join("", fileset(local.directory, "*.{img,raw}"))}"
  architecture = try(local.info.system, "") == "aarch64-linux" ? "arm64" : "x86_64"
  version      = try(local.info.version, local.info.label, "unknown")
  # The image says how large it is, or is taken to be no larger than 4 GiB; the provisioners look at the image itself. It has
  # no free space: the first boot lets the root file system grow into what the volume has beyond it.
  volume_size = var.volume_size > 0 ? var.volume_size : 2 + ceil(try(local.info.logical_bytes, 4294967296) / 1073741824)

  started = timestamp()
  name    = "mlflow-appliance-${replace(local.version, "/[^a-zA-Z0-9.-]/", "-")}-${local.architecture}-${formatdate("YYYYMMDDhhmmss", local.started)}"
  tags = {
    Name         = local.name
    project      = "sagemaker-mlflow-appliance"
    version      = local.version
    revision     = coalesce(var.revision, try(local.info.revision, null), "unknown")
    architecture = local.architecture
    # The path in the Nix store, whose hash covers everything that the image was built from.
    source  = try(local.info.closure, local.disk)
    closure = try(regex("/nix/store/([0-9a-z]{32})-", local.info.closure)[0], "unknown")
  }

  # Compressed, its hash beside it, first here and then there.
  work   = "${coalesce(var.temporary_directory, "/tmp")}/mlflow-appliance-${uuidv4()}"
  upload = "/var/tmp/mlflow-appliance"

  # EC2 encrypts a copy anew for another region, with that region's default key. Only another key there takes a detour
  # over a second copy. Sharing takes it too where a key is missing, for the plugin then says that it cannot be.
  sharing = length(var.share_with) > 0
  anew    = anytrue([for key in values(var.copy_to) : key != ""]) || (local.sharing && (var.kms_key_id == "" || length(var.copy_to) > 0))
}

source "amazon-ebssurrogate" "appliance" {
  region               = var.region != "" ? var.region : null
  ami_name             = local.name
  ami_description      = "SageMaker MLflow appliance ${local.version}, NixOS, ${local.architecture}"
  ami_architecture     = local.architecture
  ami_regions          = keys(var.copy_to)
  ami_users            = var.share_with
  boot_mode            = "uefi"
  imds_support         = "v2.0"
  ena_support          = true
  encrypt_boot         = local.anew ? true : null
  kms_key_id           = local.anew && var.kms_key_id != "" ? var.kms_key_id : null
  region_kms_key_ids   = local.anew && length(var.copy_to) > 0 ? var.copy_to : null
  deprecate_at         = var.deprecate_after_days > 0 ? timeadd(local.started, "${var.deprecate_after_days * 24}h") : null
  snapshot_description = local.name
  tags                 = local.tags
  snapshot_tags        = local.tags

  ami_virtualization_type = "hvm"

  ami_root_device {
    source_device_name    = "/dev/sdf"
    device_name           = "/dev/xvda"
    volume_type           = "gp3"
    volume_size           = local.volume_size
    delete_on_termination = true
  }

  # The snapshot of an encrypted volume is encrypted with the same key, and so is the image.
  launch_block_device_mappings {
    device_name           = "/dev/sdf"
    volume_type           = "gp3"
    volume_size           = local.volume_size
    encrypted             = true
    kms_key_id            = var.kms_key_id != "" ? var.kms_key_id : null
    delete_on_termination = true
  }
  # The instance's own disk, which holds the compressed image for a while.
  launch_block_device_mappings {
    device_name           = "/dev/xvda"
    volume_type           = "gp3"
    volume_size           = 16
    encrypted             = true
    kms_key_id            = var.kms_key_id != "" ? var.kms_key_id : null
    delete_on_termination = true
    omit_from_artifact    = true
  }

  source_ami = var.source_ami != "" ? var.source_ami : null
  dynamic "source_ami_filter" {
    for_each = var.source_ami == "" ? ["al2023-ami-2023.*-kernel-*-${local.architecture}"] : []
    content {
      owners      = ["amazon"]
      most_recent = true
      filters = {
        name                = source_ami_filter.value
        architecture        = local.architecture
        root-device-type    = "ebs"
        virtualization-type = "hvm"
      }
    }
  }

  instance_type        = coalesce(var.instance_type, local.architecture == "arm64" ? "c6g.large" : "c6i.large")
  subnet_id            = var.subnet_id
  iam_instance_profile = var.instance_profile
  run_tags             = local.tags
  run_volume_tags      = local.tags

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  communicator                              = "ssh"
  ssh_interface                             = var.ssh_interface
  ssh_username                              = var.ssh_username
  ssh_host                                  = var.ssh_host
  ssh_port                                  = var.ssh_port
  ssh_keypair_name                          = var.ssh_keypair_name
  ssh_private_key_file                      = var.ssh_private_key_file
  ssh_timeout                               = "10m"
  temporary_key_pair_type                   = "ed25519"
  temporary_security_group_source_cidrs     = var.ssh_source_cidrs
  temporary_security_group_source_public_ip = length(var.ssh_source_cidrs) == 0 && var.ssh_interface != "session_manager"
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
      command = "'${path.root}/publish.sh' '${var.manifest}' '${var.parameter_prefix}' '${local.architecture}'"
    }
  }
}
