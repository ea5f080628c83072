//! The errors of user data, and the limits that they name.

/// The most bytes of raw user data; EC2 itself allows 16 KiB.
pub const RAW_LIMIT: usize = 64 * 1024;
/// The most bytes of decompressed user data: far more than a configuration needs, and far less than a bomb is worth.
pub const TEXT_LIMIT: usize = 1024 * 1024;

/// The reason why user data is rejected; each text says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserDataError {
    /// More than [`RAW_LIMIT`].
    #[error("it has more than {RAW_LIMIT} bytes; keep secrets and long texts in the Parameter Store")]
    TooLarge,
    /// The user data would decompress to more than [`TEXT_LIMIT`].
    #[error("it decompresses to more than {TEXT_LIMIT} bytes, which is more than a configuration needs")]
    Bomb,
    /// The compression is broken.
    #[error("it begins like gzip but cannot be decompressed; compress it again, or send it as it is")]
    Gzip,
    /// The user data is neither UTF-8 nor compressed.
    #[error("it is not text; write TOML or JSON in UTF-8")]
    NotText,
    /// The text is something that other systems execute.
    #[error("it is {0}, and user data is never executed here; write the appliance's options as TOML instead")]
    Executable(&'static str),
    /// The whole text is base64.
    #[error("it is base64 as a whole; pass it to EC2 without encoding it yourself")]
    Encoded,
    /// A MIME message that holds no configuration, or more than one.
    #[error("its MIME message has {0} parts with a configuration; there must be one, in TOML or JSON")]
    Parts(usize),
    /// A MIME message that cannot be read.
    #[error("its MIME message cannot be read: {0}")]
    Mime(&'static str),
    /// The text is neither TOML nor a JSON object.
    #[error("it is neither TOML nor a JSON object: {0}")]
    Syntax(String),
}
