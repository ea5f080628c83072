# Both bakes have this in common: the instance, what becomes of its volume, and the image. Each says the rest in its locals.

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
  started = timestamp()
  name    = "mlflow-appliance-${replace(local.version, "/[^a-zA-Z0-9.-]/", "-")}-${local.architecture}-${formatdate("YYYYMMDDhhmmss", local.started)}"
  tags = merge(local.origin, {
    Name         = local.name
    project      = "sagemaker-mlflow-appliance"
    bake         = local.bake
    version      = local.version
    architecture = local.architecture
  })

  # The directory of uploads on the instance.
  upload = "/var/tmp/mlflow-appliance"

  # EC2 encrypts a copy anew for another region, with that region's default key. Only another key there takes a detour
  # over a second copy. Sharing takes it too where a key is missing, for the plugin then says that it cannot be.
  sharing = length(var.share_with) > 0
  anew    = anytrue([for key in values(var.copy_to) : key != ""]) || (local.sharing && (var.kms_key_id == "" || length(var.copy_to) > 0))
}

source "amazon-ebssurrogate" "appliance" {
  region               = var.region != "" ? var.region : null
  ami_name             = local.name
  ami_description      = "SageMaker MLflow appliance ${local.version}, ${local.system}, ${local.architecture}"
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
    source_device_name    = local.root
    device_name           = "/dev/xvda"
    volume_type           = "gp3"
    volume_size           = local.volumes[local.root]
    delete_on_termination = true
  }

  # The snapshot of an encrypted volume is encrypted with the same key, and so is the image.
  dynamic "launch_block_device_mappings" {
    for_each = local.volumes
    content {
      device_name           = launch_block_device_mappings.key
      volume_type           = "gp3"
      volume_size           = launch_block_device_mappings.value
      encrypted             = true
      kms_key_id            = var.kms_key_id != "" ? var.kms_key_id : null
      delete_on_termination = true
      omit_from_artifact    = launch_block_device_mappings.key != local.root
    }
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
