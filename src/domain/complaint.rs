//! What a reader of TOML complains about, in the words of whoever wrote the file.

/// A complaint without the names that types have in code.
pub fn plainly(message: &str) -> String {
    if message.contains("socket address") {
        return "must be an IP address and a port, such as 127.0.0.1:8080, 0.0.0.0:8080 or [::]:8080".to_owned();
    }
    let Some((found, expected)) = message.rsplit_once(", expected ") else { return message.to_owned() };
    let expected = match expected {
        "usize" | "u64" | "u32" => "a whole number, 0 or more",
        "u16" => "a whole number from 0 to 65535",
        "f64" => "a number",
        "a sequence" => "a list",
        other => other,
    };
    format!("{found}, expected {expected}")
}

#[cfg(test)]
mod tests {
    use super::plainly;

    #[test]
    fn only_names_of_types_are_replaced() {
        for (complaint, plain) in [
            (
                "invalid value: integer `-1`, expected usize",
                "invalid value: integer `-1`, expected a whole number, 0 or more",
            ),
            ("invalid type: integer `204`, expected a sequence", "invalid type: integer `204`, expected a list"),
            ("unknown variant `x`, expected `a` or `b`", "unknown variant `x`, expected `a` or `b`"),
            ("string values must be quoted", "string values must be quoted"),
        ] {
            assert_eq!(plainly(complaint), plain);
        }
        assert!(plainly("invalid socket address syntax").contains("127.0.0.1:8080"));
    }
}
