//! Columns as Go's tab writer makes them: cells end with a tab; a column is as wide as the widest of its cells in
//! lines that follow each other, and two more.

const PADDING: usize = 2;

/// The text with its tabs made into blanks.
pub fn align(text: &str) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|l| l.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|l| vec![0; l.len()]).collect();
    column(&lines, &mut widths, 0, lines.len(), 0);
    let mut out = String::new();
    for (cells, widths) in lines.iter().zip(&widths) {
        for (at, cell) in cells.iter().enumerate() {
            out.push_str(cell);
            if at + 1 < cells.len() {
                out.extend(std::iter::repeat_n(' ', widths[at].saturating_sub(cell.chars().count())));
            }
        }
        out.push('\n');
    }
    out
}

fn column(lines: &[Vec<&str>], widths: &mut [Vec<usize>], from: usize, to: usize, at: usize) {
    let has = |line: usize| lines[line].len() > at + 1;
    let mut line = from;
    while line < to {
        if !has(line) {
            line += 1;
            continue;
        }
        let end = (line..to).find(|l| !has(*l)).unwrap_or(to);
        let width = (line..end).map(|l| lines[l][at].chars().count()).max().unwrap_or(0) + PADDING;
        widths[line..end].iter_mut().for_each(|w| w[at] = width);
        column(lines, widths, line, end, at + 1);
        line = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_end_where_lines_without_them_begin() {
        let text = "Name:\tx\nLonger Name:\ty\nList:\n  a\tb\tc\n  long\t\td\nEnd:\tz\n";
        let want = "Name:         x\nLonger Name:  y\nList:\n  a     b  c\n  long     d\nEnd:    z\n";
        assert_eq!(align(text), want);
    }
}
