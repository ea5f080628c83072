//! An AWS account: the resources, quotas and permissions on which stacks depend. It is asked before anything is made.

mod balancing;
mod calls;
mod containers;
mod ec2;
mod limits;
mod permissions;

pub use calls::Account;
pub use ec2::{Image, VpcEndpoint};
pub use limits::{AcmCertificate, Quota};
