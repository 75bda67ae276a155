//! Tables of the documentation that come from the code.

use std::{collections::HashSet, fs, path::Path};

use moorgate_contract::{
    failure::{Code, table::table_as_markdown},
    limits::phases_as_markdown,
};

use crate::error::XtaskError;

/// The page on failures: beside the table of the code it explains every code in words.
const FAILURES: &str = "docs/failures.md";

/// A table, between two lines of a page.
struct Block {
    page: &'static str,
    begin: &'static str,
    end: &'static str,
    made: fn() -> String,
}

const BLOCKS: [Block; 2] = [
    Block {
        page: "docs/limits.md",
        begin: "<!-- limits: begin; made by `cargo xtask docs` -->\n",
        end: "<!-- limits: end -->\n",
        made: phases_as_markdown,
    },
    Block {
        page: FAILURES,
        begin: "<!-- failures: begin -->\n",
        end: "<!-- failures: end -->\n",
        made: table_as_markdown,
    },
];

/// Whether every table is what the code says, and every failure is explained.
///
/// # Errors
/// The first file that is not, or that can't be read.
pub(crate) fn check(root: &Path) -> Result<(), XtaskError> {
    for block in &BLOCKS {
        let path = root.join(block.page);
        let text = read(&path)?;
        if block.put(&path, &text)? != text {
            return Err(XtaskError::Stale { path });
        }
    }
    let path = root.join(FAILURES);
    let codes = unexplained(&read(&path)?);
    if codes.is_empty() { Ok(()) } else { Err(XtaskError::Unexplained { path, codes }) }
}

/// Writes every table anew.
///
/// # Errors
/// A file that can't be read or written, or has lost its marks.
pub(crate) fn rewrite(root: &Path) -> Result<(), XtaskError> {
    for block in &BLOCKS {
        let path = root.join(block.page);
        let text = read(&path)?;
        let new = block.put(&path, &text)?;
        if new != text {
            fs::write(&path, new).map_err(|source| XtaskError::File { path: path.clone(), source })?;
            eprintln!("wrote {}", path.display());
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, XtaskError> {
    fs::read_to_string(path).map_err(|source| XtaskError::File { path: path.into(), source })
}

impl Block {
    /// `text` with the table as the code has it now.
    fn put(&self, path: &Path, text: &str) -> Result<String, XtaskError> {
        put(path, text, (self.begin, self.end), &(self.made)())
    }
}

/// Writes a page with what is new between two of its lines.
///
/// # Errors
/// It can't be read or written, or has lost its marks.
pub(crate) fn put_block(path: &Path, marks: (&'static str, &'static str), block: &str) -> Result<(), XtaskError> {
    let new = put(path, &read(path)?, marks, block)?;
    fs::write(path, new).map_err(|source| XtaskError::File { path: path.into(), source })
}

fn put(path: &Path, text: &str, marks: (&'static str, &'static str), block: &str) -> Result<String, XtaskError> {
    let (begin, end) = marks;
    let parts = text.split_once(begin).and_then(|(before, rest)| Some((before, rest.split_once(end)?.1)));
    match parts {
        Some((before, after)) => Ok(format!("{before}{begin}{block}{end}{after}")),
        None => Err(XtaskError::NoBlock { path: path.into(), begin: begin.trim_end(), end: end.trim_end() }),
    }
}

/// The codes without a row of their own below the table that comes from the code.
fn unexplained(text: &str) -> Vec<&'static str> {
    let words = text.split_once("<!-- failures: end -->").map_or("", |(_, words)| words);
    let explained: HashSet<&str> =
        words.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |").map(|(code, _)| code)).collect();
    Code::ALL.iter().map(|code| code.row().code).filter(|code| !explained.contains(code)).collect()
}

#[cfg(test)]
mod tests;
