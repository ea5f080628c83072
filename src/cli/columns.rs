//! Tables of text for people.

/// The rows as lines, with columns as wide as their longest cell. The first row is the heading.
pub(super) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let rows = [["A", "B"], ["longer", "x"], ["é", ""]].map(|row| row.map(ToOwned::to_owned));
        assert_eq!(super::table(&rows), "A       B\nlonger  x\né");
    }
}
