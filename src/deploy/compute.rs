//! The kind of compute that runs the appliance. Each kind has a stack of its own, so that both can exist at once: a deployment
//! moves from one to the other without downtime, and back.

use super::templates::StackKind;

/// A kind of compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compute {
    /// Instances of EC2 with the AMI, in an Auto Scaling group.
    Instances,
    /// Tasks on Fargate with the image of a container.
    Fargate,
}

impl Compute {
    /// Returns the name of the kind.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Instances => "instances",
            Self::Fargate => "fargate",
        }
    }

    /// Returns the kind with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Instances, Self::Fargate].into_iter().find(|one| one.name() == name)
    }

    /// Returns the other kind.
    pub(super) fn other(self) -> Self {
        match self {
            Self::Instances => Self::Fargate,
            Self::Fargate => Self::Instances,
        }
    }

    /// Returns the kind of its stack.
    pub(super) fn stack(self) -> StackKind {
        match self {
            Self::Instances => StackKind::Appliance,
            Self::Fargate => StackKind::Fargate,
        }
    }

    /// Returns the kind of compute that such a stack has.
    pub(super) fn of(kind: StackKind) -> Option<Self> {
        [Self::Instances, Self::Fargate].into_iter().find(|one| one.stack() == kind)
    }
}
