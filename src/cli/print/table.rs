//! Columns as kubectl aligns them: three spaces between, at least six wide, the last as wide as it is.

/// Spaces between columns.
const GAP: usize = 3;
/// Columns are at least as wide as this, gap included.
const MIN_WIDTH: usize = 6;

/// Rows under a header, or without one. It remembers how wide its columns were: what is printed later stays aligned.
#[derive(Debug, Default)]
pub struct Columns {
    widths: Vec<usize>,
}

impl Columns {
    /// Aligns rows, one line each.
    pub fn align(&mut self, rows: &[Vec<String>]) -> String {
        for row in rows {
            for (index, cell) in row.iter().take(row.len().saturating_sub(1)).enumerate() {
                let width = (cell.chars().count() + GAP).max(MIN_WIDTH);
                match self.widths.get_mut(index) {
                    Some(known) => *known = width.max(*known),
                    None => self.widths.push(width),
                }
            }
        }
        let mut out = String::new();
        for row in rows {
            for (index, cell) in row.iter().enumerate() {
                out.push_str(cell);
                if index + 1 < row.len() {
                    let width = self.widths.get(index).copied().unwrap_or_default();
                    out.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
                }
            }
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn columns_are_aligned_and_stay_so() {
        let mut columns = Columns::default();
        let first = columns.align(&[row(&["NAME", "READY", "AGE"]), row(&["web", "1/1", "5s"])]);
        assert_eq!(first, "NAME   READY   AGE\nweb    1/1     5s\n");
        assert_eq!(columns.align(&[row(&["a", "b", "c"])]), "a      b       c\n");
    }
}
