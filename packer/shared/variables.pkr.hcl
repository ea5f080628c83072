# The variables of both bakes.

# These variables say what to bake.

variable "revision" {
  description = "The git revision that the image was built from, for the tag `revision`. Empty means what image-info.json says, or else \"unknown\"."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([0-9a-f]{7,64}(-dirty)?)?$", var.revision))
    error_message = "The revision must be what `git rev-parse HEAD` prints: 7 to 64 hexadecimal digits, with -dirty behind them if the work tree was not clean."
  }
}

variable "volume_size" {
  description = "GiB of the root volume of whatever starts from the image. 0 means as many as the bake needs: 8 for Amazon Linux, two more than the disk that Nix built has."
  type        = number
  default     = 0

  validation {
    condition     = var.volume_size >= 0 && var.volume_size <= 16384 && floor(var.volume_size) == var.volume_size
    error_message = "The size of the volume must be a whole number of GiB, from 1 to 16384, or 0 for as many as the image needs."
  }
}

# These variables say what to make of it.

variable "region" {
  description = "Where to bake. Empty means where your AWS configuration says: AWS_REGION, or the profile's region."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([a-z]{2}(-[a-z]+)+-[0-9])?$", var.region))
    error_message = "The region must look like eu-central-1."
  }
}

variable "kms_key_id" {
  description = "ARN of the KMS key that encrypts the image. Empty means the account's default key for EBS."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(key|alias)/[a-zA-Z0-9:/_-]+)?$", var.kms_key_id))
    error_message = "The KMS key must be named by its full ARN, arn:aws:kms:REGION:ACCOUNT:key/ID, so that it cannot be another account's key of the same name."
  }
}

variable "copy_to" {
  description = "Regions to copy the image to, each with the ARN of the KMS key that encrypts it there; an empty ARN means the default key for EBS."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for region, key in var.copy_to : can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", region)) && (key == "" || can(regex("^arn:aws[a-z-]*:kms:${region}:[0-9]{12}:(key|alias)/.+$", key)))])
    error_message = "Each region to copy to must look like eu-central-1, and its KMS key must be empty or the full ARN of a key in that region."
  }
}

variable "share_with" {
  description = "Ids of the AWS accounts that may launch the image. Needs `kms_key_id`, and a key for each region in `copy_to`: nobody else can use what the default key encrypts."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for account in var.share_with : can(regex("^[0-9]{12}$", account))])
    error_message = "The id of an AWS account has 12 digits. Quote it, so that leading zeros stay: share_with = [\"012345678901\"]."
  }
}

variable "deprecate_after_days" {
  description = "Days after which the image is marked as deprecated, which hides it from searches but stops nothing. 0 means never."
  type        = number
  default     = 90

  validation {
    condition     = var.deprecate_after_days >= 0 && var.deprecate_after_days <= 3650 && floor(var.deprecate_after_days) == var.deprecate_after_days
    error_message = "An image is deprecated after 1 to 3650 whole days (EC2 allows ten years), or never, which is 0."
  }
}

variable "parameter_prefix" {
  description = "Where the Parameter Store gets the id of the image: PREFIX/x86_64 or PREFIX/arm64, in each region that has the image. Empty means nowhere."
  type        = string
  default     = "/mlflow-appliance/ami"

  validation {
    condition     = can(regex("^((/[a-zA-Z0-9_.-]+)+)?$", var.parameter_prefix)) && !can(regex("^/(?i:aws|ssm)", var.parameter_prefix))
    error_message = "The prefix must be a path such as /mlflow-appliance/ami, without a slash at its end; AWS reserves names that begin with /aws or /ssm."
  }
}

variable "manifest" {
  description = "The file to which Packer adds an entry for each image: its id, its tags, when it was made."
  type        = string
  default     = "packer-manifest.json"

  validation {
    condition     = can(regex("[.]json$", var.manifest))
    error_message = "The manifest is a JSON file: let its name end with .json."
  }
}

# The instance of the bake, and the way to it.

variable "source_ami" {
  description = "The image that the instance starts from. Empty means Amazon's newest Amazon Linux 2023 of the right architecture."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(ami-[0-9a-z]+)?$", var.source_ami))
    error_message = "The id of an image begins with ami-."
  }
}

variable "instance_type" {
  description = "The type of the instance. Empty means c6i.large or c6g.large, which do not run out of CPU credits."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([a-z0-9-]+[.][a-z0-9-]+)?$", var.instance_type))
    error_message = "The type of an instance looks like c6i.large; it must be of the image's architecture, and of the Nitro system."
  }
}

variable "subnet_id" {
  description = "The subnet of the instance. Empty means one of the default VPC."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(subnet-[0-9a-f]+)?$", var.subnet_id))
    error_message = "The id of a subnet begins with subnet-."
  }
}

variable "ssh_interface" {
  description = "How Packer reaches that instance: public_ip, private_ip, or session_manager, which opens no port."
  type        = string
  default     = "public_ip"

  validation {
    condition     = contains(["public_ip", "private_ip", "session_manager"], var.ssh_interface)
    error_message = "Packer reaches the instance by public_ip, by private_ip (from inside the VPC) or by session_manager (with `instance_profile`)."
  }
}

variable "ssh_source_cidrs" {
  description = "The networks from which port 22 of that instance is open while it lives. Empty means your public address alone, for which checkip.amazonaws.com is asked."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.ssh_source_cidrs : can(cidrhost(cidr, 0)) && !can(regex("/0$", cidr))])
    error_message = "Each network must be written as 203.0.113.7/32, and none may be the whole internet."
  }
}

variable "instance_profile" {
  description = "The instance profile of that instance, with AmazonSSMManagedInstanceCore. Only session_manager needs one."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[a-zA-Z0-9+=,.@_-]*$", var.instance_profile))
    error_message = "Give the name of the instance profile, not its ARN."
  }
}

variable "ssh_username" {
  description = "The user to log in as, who may use sudo without a password."
  type        = string
  default     = "ec2-user"

  validation {
    condition     = can(regex("^[a-z_][a-z0-9_-]*$", var.ssh_username))
    error_message = "The name of a user has small letters, digits, - and _."
  }
}

variable "ssh_host" {
  description = "Where SSH answers, if not at the instance's own address."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[a-zA-Z0-9.:-]*$", var.ssh_host))
    error_message = "The host must be a name or an address."
  }
}

variable "ssh_port" {
  description = "The port at which SSH answers there."
  type        = number
  default     = 22

  validation {
    condition     = var.ssh_port >= 1 && var.ssh_port <= 65535
    error_message = "A port is a number from 1 to 65535."
  }
}

variable "ssh_keypair_name" {
  description = "The EC2 key pair to log in with. Empty means one that lives only as long as the bake."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[ -~]*$", var.ssh_keypair_name))
    error_message = "The name of a key pair has only ASCII characters."
  }
}

variable "ssh_private_key_file" {
  description = "The file of that key pair's private key."
  type        = string
  default     = ""

  validation {
    condition     = var.ssh_private_key_file == "" || fileexists(var.ssh_private_key_file)
    error_message = "There is no such file of a private key."
  }
}
