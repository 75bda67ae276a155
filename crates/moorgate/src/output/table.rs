//! Columns under a header, two spaces apart, no borders.

use std::fmt;

use super::shown;

/// A table of `N` columns.
#[derive(Clone, Debug)]
pub(crate) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// With these headers.
    pub(crate) fn new(header: [&str; N]) -> Self {
        Self { rows: vec![header.map(str::to_owned)] }
    }

    /// One more row. Cells that are missing are empty, those beyond the last column are left out.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut cells = cells.into_iter();
        self.rows.push(std::array::from_fn(|_| shown(&cells.next().unwrap_or_default())));
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths = [0; N];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        for row in &self.rows {
            let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_tail() {
        let mut table = Table::new(["NAME", "STATE"]);
        table.row(["a".into(), "present".into()]);
        table.row(["longer".into(), "–".into()]);
        assert_eq!(table.to_string(), "NAME    STATE\na       present\nlonger  –\n");
    }
}
