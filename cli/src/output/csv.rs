//! Comma-separated values (RFC 4180).

/// One record, with its end.
pub(crate) fn record(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
    format!("{}\r\n", cells.join(","))
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::record;

    #[test]
    fn what_separates_is_quoted() {
        let cells = ["a", "b,c", "d \"e\"", "f\ng", ""].map(str::to_owned);
        assert_eq!(record(&cells), "a,\"b,c\",\"d \"\"e\"\"\",\"f\ng\",\r\n");
    }
}
