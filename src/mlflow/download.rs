//! The headers with which MLflow's server sends a file: the name under which it is saved, and its type.

use std::borrow::Cow;
use std::path::Path;

use icu_normalizer::DecomposingNormalizerBorrowed;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The characters that `filename*` does not encode (RFC 5987, `attr-char`).
const ATTRIBUTE: AsciiSet = NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');
/// The type of a file whose name says nothing about it.
const UNKNOWN: &str = "application/octet-stream";
/// MLflow treats files with these extensions, or with these names, as text (`mlflow.utils.mime_type_utils`).
const TEXT: [&str; 26] = [
    "txt",
    "log",
    "err",
    "cfg",
    "conf",
    "cnf",
    "cf",
    "ini",
    "properties",
    "prop",
    "hocon",
    "toml",
    "yaml",
    "yml",
    "xml",
    "json",
    "js",
    "py",
    "py3",
    "csv",
    "tsv",
    "md",
    "rst",
    "ipynb",
    "MLmodel",
    "MLproject",
];
/// Extensions that name a compression; the type is that of the file within.
const COMPRESSIONS: [&str; 5] = ["gz", "Z", "bz2", "xz", "br"];
/// Extensions that stand for two.
const SHORT: [(&str, &str); 6] =
    [("svgz", "svg"), ("tgz", "tar"), ("taz", "tar"), ("tz", "tar"), ("tbz2", "tar"), ("txz", "tar")];

/// Returns the value of `Content-Disposition` that makes a browser save a file under this name (RFC 6266). A name that is
/// not ASCII is there twice: reduced to ASCII, and in full.
#[must_use]
pub fn attachment(name: &str) -> String {
    if name.is_ascii() {
        return format!("attachment; filename={}", quoted(name));
    }
    let decomposed = DecomposingNormalizerBorrowed::new_nfkd().normalize(name);
    // SECURITY: a full-width slash or dot becomes a plain one here, and a program that saves the file under this name would leave its
    // directory.
    let plain: String = decomposed.chars().filter(|c| c.is_ascii() && !matches!(c, '/' | '\\')).collect();
    let plain = if plain.trim_start_matches('.').is_empty() { "download" } else { &plain };
    format!("attachment; filename={}; filename*=UTF-8''{}", quoted(plain), utf8_percent_encode(name, &ATTRIBUTE))
}

/// Returns a token as it is, and anything else as a quoted string.
fn quoted(text: &str) -> Cow<'_, str> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_token) {
        return text.into();
    }
    // SECURITY: a control character would end the header.
    let printable: String = text.chars().filter(|c| !c.is_control()).collect();
    format!("\"{}\"", printable.replace('\\', "\\\\").replace('"', "\\\"")).into()
}

/// Returns the type of a file of this name by the rules of MLflow's server.
#[must_use]
pub fn content_type(name: &str) -> &'static str {
    let (stem, extension) = split(name);
    if TEXT.contains(&if extension.is_empty() { name } else { extension }) {
        return "text/plain";
    }
    let lower = extension.to_ascii_lowercase();
    let inner = if let Some((_, inner)) = SHORT.iter().find(|(short, _)| *short == lower) {
        inner
    } else if COMPRESSIONS.contains(&extension) {
        split(stem).1
    } else {
        extension
    };
    let lower = inner.to_ascii_lowercase();
    TYPES.iter().find(|(_, extensions)| extensions.contains(&lower.as_str())).map_or(UNKNOWN, |(kind, _)| kind)
}

/// Returns the type that replaces the stored one, if the store knows none. S3 reports `binary/octet-stream` for objects that
/// were stored without a type.
#[must_use]
pub fn type_of_object(stored: Option<&str>, name: &str) -> Option<&'static str> {
    let is_known = stored.is_some_and(|stored| !stored.is_empty() && stored != "binary/octet-stream");
    (!is_known).then(|| content_type(name))
}

/// Splits a name at its last dot. A name that begins with its only dot has no extension.
fn split(name: &str) -> (&str, &str) {
    let path = Path::new(name);
    let extension = path.extension().and_then(|text| text.to_str()).unwrap_or_default();
    (path.file_stem().and_then(|text| text.to_str()).unwrap_or_default(), extension)
}

/// The types of Python's `mimetypes`, each with its extensions. A linear search is fast enough: it runs only for objects that
/// were stored without a type.
#[rustfmt::skip]
const TYPES: &[(&str, &[&str])] = &[
    ("application/javascript", &["js", "mjs"]),
    ("application/json", &["json"]),
    ("application/manifest+json", &["webmanifest"]),
    ("application/msword", &["doc", "dot", "wiz"]),
    ("application/n-quads", &["nq"]),
    ("application/n-triples", &["nt"]),
    ("application/octet-stream", &["a", "bin", "dll", "exe", "o", "obj", "so"]),
    ("application/oda", &["oda"]),
    ("application/pdf", &["pdf"]),
    ("application/pkcs7-mime", &["p7c"]),
    ("application/postscript", &["ai", "eps", "ps"]),
    ("application/trig", &["trig"]),
    ("application/vnd.apple.mpegurl", &["m3u", "m3u8"]),
    ("application/vnd.ms-excel", &["xlb", "xls"]),
    ("application/vnd.ms-powerpoint", &["pot", "ppa", "pps", "ppt", "pwz"]),
    ("application/wasm", &["wasm"]),
    ("application/x-bcpio", &["bcpio"]),
    ("application/x-cpio", &["cpio"]),
    ("application/x-csh", &["csh"]),
    ("application/x-dvi", &["dvi"]),
    ("application/x-gtar", &["gtar"]),
    ("application/x-hdf", &["hdf"]),
    ("application/x-hdf5", &["h5"]),
    ("application/x-latex", &["latex"]),
    ("application/x-mif", &["mif"]),
    ("application/x-netcdf", &["cdf", "nc"]),
    ("application/x-pkcs12", &["p12", "pfx"]),
    ("application/x-pn-realaudio", &["ram"]),
    ("application/x-python-code", &["pyc", "pyo"]),
    ("application/x-sh", &["sh"]),
    ("application/x-shar", &["shar"]),
    ("application/x-shockwave-flash", &["swf"]),
    ("application/x-sv4cpio", &["sv4cpio"]),
    ("application/x-sv4crc", &["sv4crc"]),
    ("application/x-tar", &["tar"]),
    ("application/x-tcl", &["tcl"]),
    ("application/x-tex", &["tex"]),
    ("application/x-texinfo", &["texi", "texinfo"]),
    ("application/x-troff", &["roff", "t", "tr"]),
    ("application/x-troff-man", &["man"]),
    ("application/x-troff-me", &["me"]),
    ("application/x-troff-ms", &["ms"]),
    ("application/x-ustar", &["ustar"]),
    ("application/x-wais-source", &["src"]),
    ("application/xml", &["rdf", "wsdl", "xpdl", "xsl"]),
    ("application/zip", &["zip"]),
    ("audio/3gpp", &["3gp", "3gpp"]),
    ("audio/3gpp2", &["3g2", "3gpp2"]),
    ("audio/aac", &["aac", "adts", "ass", "loas"]),
    ("audio/basic", &["au", "snd"]),
    ("audio/mpeg", &["mp2", "mp3"]),
    ("audio/opus", &["opus"]),
    ("audio/x-aiff", &["aif", "aifc", "aiff"]),
    ("audio/x-pn-realaudio", &["ra"]),
    ("audio/x-wav", &["wav"]),
    ("image/avif", &["avif"]),
    ("image/bmp", &["bmp"]),
    ("image/gif", &["gif"]),
    ("image/heic", &["heic"]),
    ("image/heif", &["heif"]),
    ("image/ief", &["ief"]),
    ("image/jpeg", &["jpe", "jpeg", "jpg"]),
    ("image/png", &["png"]),
    ("image/svg+xml", &["svg"]),
    ("image/tiff", &["tif", "tiff"]),
    ("image/vnd.microsoft.icon", &["ico"]),
    ("image/webp", &["webp"]),
    ("image/x-cmu-raster", &["ras"]),
    ("image/x-portable-anymap", &["pnm"]),
    ("image/x-portable-bitmap", &["pbm"]),
    ("image/x-portable-graymap", &["pgm"]),
    ("image/x-portable-pixmap", &["ppm"]),
    ("image/x-rgb", &["rgb"]),
    ("image/x-xbitmap", &["xbm"]),
    ("image/x-xpixmap", &["xpm"]),
    ("image/x-xwindowdump", &["xwd"]),
    ("message/rfc822", &["eml", "mht", "mhtml", "nws"]),
    ("text/css", &["css"]),
    ("text/csv", &["csv"]),
    ("text/html", &["htm", "html"]),
    ("text/n3", &["n3"]),
    ("text/plain", &["bat", "c", "h", "ksh", "pl", "srt", "txt"]),
    ("text/richtext", &["rtx"]),
    ("text/tab-separated-values", &["tsv"]),
    ("text/vtt", &["vtt"]),
    ("text/x-python", &["py"]),
    ("text/x-setext", &["etx"]),
    ("text/x-sgml", &["sgm", "sgml"]),
    ("text/x-vcard", &["vcf"]),
    ("text/xml", &["xml"]),
    ("video/mp4", &["mp4"]),
    ("video/mpeg", &["m1v", "mpa", "mpe", "mpeg", "mpg"]),
    ("video/quicktime", &["mov", "qt"]),
    ("video/webm", &["webm"]),
    ("video/x-msvideo", &["avi"]),
    ("video/x-sgi-movie", &["movie"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_mlflow_writes_them() {
        for (name, expected) in [
            ("page.txt", "attachment; filename=page.txt"),
            ("b b.txt", "attachment; filename=\"b b.txt\""),
            ("\u{fc}+%.bin", "attachment; filename=u+%.bin; filename*=UTF-8''%C3%BC+%25.bin"),
            ("say \"hi\" \\.txt", "attachment; filename=\"say \\\"hi\\\" \\\\.txt\""),
            ("\u{65e5}\u{672c}", "attachment; filename=download; filename*=UTF-8''%E6%97%A5%E6%9C%AC"),
            ("\u{65e5}.csv", "attachment; filename=.csv; filename*=UTF-8''%E6%97%A5.csv"),
            ("a;b,c=d.txt", "attachment; filename=\"a;b,c=d.txt\""),
            (
                "\u{e9}\u{2014}'(1).pdf",
                "attachment; filename=\"e'(1).pdf\"; filename*=UTF-8''%C3%A9%E2%80%94%27%281%29.pdf",
            ),
            ("\u{ff0f}etc\u{ff0f}x", "attachment; filename=etcx; filename*=UTF-8''%EF%BC%8Fetc%EF%BC%8Fx"),
            ("\u{ff0e}\u{ff0e}", "attachment; filename=download; filename*=UTF-8''%EF%BC%8E%EF%BC%8E"),
            ("\u{ff0e}\u{ff3c}x", "attachment; filename=.x; filename*=UTF-8''%EF%BC%8E%EF%BC%BCx"),
            ("a\r\nSet-Cookie: x", "attachment; filename=\"aSet-Cookie: x\""),
        ] {
            assert_eq!(attachment(name), expected);
        }
    }

    #[test]
    fn types_are_those_of_mlflow() {
        for (name, expected) in [
            ("a.svg", "image/svg+xml"),
            ("a.SVG", "image/svg+xml"),
            ("page.html", "text/html"),
            ("a.csv", "text/plain"),
            ("a.CSV", "text/csv"),
            ("MLmodel", "text/plain"),
            ("x.MLmodel", "text/plain"),
            ("log", "text/plain"),
            ("model.pkl", "application/octet-stream"),
            ("a.tar.gz", "application/x-tar"),
            ("a.tgz", "application/x-tar"),
            ("a.csv.gz", "text/csv"),
            ("a.png", "image/png"),
            ("a.webp", "image/webp"),
            ("nothing", "application/octet-stream"),
            (".png", "application/octet-stream"),
            ("", "application/octet-stream"),
        ] {
            assert_eq!(content_type(name), expected, "{name}");
        }
        for (stored, expected) in [
            (None, Some("image/png")),
            (Some("binary/octet-stream"), Some("image/png")),
            (Some(""), Some("image/png")),
            (Some("application/octet-stream"), None),
            (Some("text/html"), None),
        ] {
            assert_eq!(type_of_object(stored, "a.png"), expected, "{stored:?}");
        }
    }
}
