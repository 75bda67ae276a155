//! Tables of the documentation that come from the code.

use std::{
    fs,
    path::{Path, PathBuf},
};

use moorgate_contract::limits::phases_as_markdown;

use crate::error::XtaskError;

const BEGIN: &str = "<!-- limits: begin; made by `cargo xtask docs` -->\n";
const END: &str = "<!-- limits: end -->\n";

fn limits(root: &Path) -> PathBuf {
    root.join("docs/limits.md")
}

/// Whether every table is what the code says.
///
/// # Errors
/// The first file that is not, or that can't be read.
pub(crate) fn check(root: &Path) -> Result<(), XtaskError> {
    let path = limits(root);
    let text = read(&path)?;
    if with_block(&path, &text, &phases_as_markdown())? == text { Ok(()) } else { Err(XtaskError::Stale { path }) }
}

/// Writes every table anew.
///
/// # Errors
/// A file that can't be read or written, or has lost its marks.
pub(crate) fn rewrite(root: &Path) -> Result<(), XtaskError> {
    let path = limits(root);
    let text = read(&path)?;
    let new = with_block(&path, &text, &phases_as_markdown())?;
    if new != text {
        fs::write(&path, new).map_err(|source| XtaskError::File { path: path.clone(), source })?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, XtaskError> {
    fs::read_to_string(path).map_err(|source| XtaskError::File { path: path.into(), source })
}

/// `text` with `block` between its marks.
fn with_block(path: &Path, text: &str, block: &str) -> Result<String, XtaskError> {
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    match parts {
        Some((before, after)) => Ok(format!("{before}{BEGIN}{block}{END}{after}")),
        None => Err(XtaskError::NoBlock { path: path.into(), begin: BEGIN.trim_end(), end: END.trim_end() }),
    }
}

#[cfg(test)]
mod tests;
