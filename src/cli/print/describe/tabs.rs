//! Tab stops that stretch: a column is as wide as the widest cell of the lines that follow each other and have it.

/// Spaces behind the widest cell.
const PADDING: usize = 2;

/// Replaces tabs by spaces. What is behind a line's last tab is in no column.
pub(super) fn tabulate(text: &str) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut out = String::with_capacity(text.len() * 2);
    block(&lines, &mut Vec::new(), &mut out);
    out
}

/// Prints lines whose first columns have these widths.
fn block(lines: &[Vec<&str>], widths: &mut Vec<usize>, out: &mut String) {
    let column = widths.len();
    let has = |line: &Vec<&str>| line.len() > column + 1;
    let mut rest = lines;
    while !rest.is_empty() {
        let without = rest.iter().position(has).unwrap_or(rest.len());
        let (plain, more) = rest.split_at(without);
        plain.iter().for_each(|line| print(line, widths, out));
        let with = more.iter().position(|line| !has(line)).unwrap_or(more.len());
        let (columned, more) = more.split_at(with);
        let width = columned.iter().map(|line| line[column].chars().count()).max().unwrap_or(0) + PADDING;
        widths.push(width);
        if !columned.is_empty() {
            block(columned, widths, out);
        }
        widths.pop();
        rest = more;
    }
}

fn print(line: &[&str], widths: &[usize], out: &mut String) {
    for (index, cell) in line.iter().enumerate() {
        out.push_str(cell);
        if index + 1 < line.len()
            && let Some(width) = widths.get(index)
        {
            out.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
        }
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_neighbours() {
        let text = "Name:\tweb\nNamespace:\tdefault\nIPs:\n  IP:\t10.0.0.1\nA:\tb\tc\nLonger:\tbb\tc\n";
        let expected =
            "Name:       web\nNamespace:  default\nIPs:\n  IP:    10.0.0.1\nA:       b   c\nLonger:  bb  c\n";
        assert_eq!(tabulate(text), expected);
    }
}
