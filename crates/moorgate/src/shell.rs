//! Words of commands that we print, to be pasted into a shell.

use std::path::Path;

/// A word as a shell reads it back unchanged.
pub(crate) fn quote(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-:@[]%+,=".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A path as it may be typed into a shell, short where it is below the home directory.
pub(crate) fn tilde(path: &Path) -> String {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    match home.and_then(|home| path.strip_prefix(home).ok()) {
        Some(below) => format!("~/{}", quote(&below.display().to_string())),
        None => quote(&path.display().to_string()),
    }
}

/// The flag by which a command finds the gateway of `dir`, with a space before it; nothing when it looks there (`default`)
/// by itself.
pub(crate) fn data_dir_flag(dir: &Path, default: Option<&Path>) -> String {
    if default == Some(dir) {
        return String::new();
    }
    format!(" --data-dir {}", tilde(dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_commands_find_by_themselves_is_not_named() {
        let dir = Path::new("/srv/it's here");
        assert_eq!(data_dir_flag(dir, Some(dir)), "");
        for default in [None, Some(Path::new("/elsewhere"))] {
            assert_eq!(data_dir_flag(dir, default), r" --data-dir '/srv/it'\''s here'");
        }
    }
}
