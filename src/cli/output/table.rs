//! Tables as `kubectl` and `docker` print them: left-aligned columns, three spaces apart, no borders.

/// A table with these column heads and rows, ending in a newline.
pub fn render(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(head.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["hello".into(), "1/1".into()], vec!["a".into(), "0/1".into()]];
        assert_eq!(render(&["NAME", "READY"], &rows), "NAME    READY\nhello   1/1\na       0/1\n");
    }
}
