//! Sizes: `10GB`, `512MiB`, plain bytes.

const UNITS: [(&str, u128); 12] = [
    ("", 1),
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("pb", 1_000_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("pib", 1 << 50),
];

const HINT: &str =
    "write bytes or a number with a unit: 10GB (powers of 1000), 512MiB (powers of 1024)";

/// Reads a size in bytes; `unlimited`, as [`show`] writes it, is 0.
///
/// # Errors
/// When the text is no size, is not a whole number of bytes, or is larger than 2^63 - 1 bytes.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("unlimited") {
        return Ok(0);
    }
    if text
        .strip_prefix('-')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    {
        return Err(format!("{text:?} is negative; {HINT}"));
    }
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start().to_ascii_lowercase();
    let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(format!("{text:?} is no size; {HINT}"));
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let too_big = || format!("{text:?} is larger than 8EiB");
    let digits = |digits: &str| {
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!("{text:?} is no size; {HINT}"));
        }
        digits.parse::<u128>().map_err(|_| too_big())
    };
    let mut bytes = digits(whole)?.checked_mul(*factor).ok_or_else(too_big)?;
    let fraction = fraction.trim_end_matches('0');
    if !fraction.is_empty() {
        let scale = u32::try_from(fraction.len())
            .ok()
            .and_then(|len| 10_u128.checked_pow(len))
            .ok_or_else(|| format!("{text:?} has too many decimals; {HINT}"))?;
        let part = digits(fraction)?
            .checked_mul(*factor)
            .filter(|part| part % scale == 0)
            .ok_or_else(|| format!("{text:?} is not a whole number of bytes; {HINT}"))?;
        bytes = bytes.checked_add(part / scale).ok_or_else(too_big)?;
    } else if number.ends_with('.') {
        return Err(format!("{text:?} is no size; {HINT}"));
    }
    i64::try_from(bytes).map_err(|_| too_big())
}

const DECIMAL_UNITS: [(&str, i64); 5] = [
    ("PB", 1_000_000_000_000_000),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
];

const BINARY_UNITS: [(&str, i64); 5] = [
    ("PiB", 1 << 50),
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];

/// A quota for people: `unlimited`, `10GB`, `1.5GB`, `1GiB`, `1000000001B`. It is exact: [`parse`] reads the same bytes.
pub(crate) fn show(bytes: i64) -> String {
    if bytes == 0 {
        return "unlimited".to_owned();
    }
    let decimal = DECIMAL_UNITS.iter().find_map(|(unit, factor)| {
        // At most three decimals: more are harder to read than bytes.
        let thousandths = (bytes >= *factor && bytes % (factor / 1000) == 0)
            .then_some(bytes / (factor / 1000))?;
        let (whole, part) = (thousandths / 1000, thousandths % 1000);
        let text = format!("{whole}.{part:03}");
        let number = text.trim_end_matches('0').trim_end_matches('.');
        Some(format!("{number}{unit}"))
    });
    let binary = BINARY_UNITS.iter().find_map(|(unit, factor)| {
        (bytes >= *factor && bytes % factor == 0).then(|| format!("{}{unit}", bytes / factor))
    });
    [decimal, binary, Some(format!("{bytes}B"))]
        .into_iter()
        .flatten()
        .min_by_key(String::len)
        .unwrap_or_default()
}

/// A size for people, in powers of 1000 with at most one decimal, rounded.
pub(crate) fn size(bytes: i64) -> String {
    for (unit, factor) in DECIMAL_UNITS {
        // What would round to a thousand of the smaller unit is one of this one.
        if bytes >= factor - factor / 20_000 {
            let tenth = factor / 10;
            let tenths = bytes / tenth + i64::from(bytes % tenth >= tenth / 2);
            return match (tenths / 10, tenths % 10) {
                (whole, 0) => format!("{whole}{unit}"),
                (whole, tenth) => format!("{whole}.{tenth}{unit}"),
            };
        }
    }
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{parse, show, size};

    proptest! {
        #[test]
        fn a_shown_quota_is_read_as_the_same_quota(
            number in 0..100_000_i64,
            factor in prop::sample::select(vec![1_i64, 1000, 1024, 1_000_000, 1 << 20, 1 << 30, 1_000_000_000]),
        ) {
            let bytes = number * factor;
            prop_assert_eq!(parse(&show(bytes)), Ok(bytes), "{}", show(bytes));
        }
    }

    #[test]
    fn sizes_are_rounded() {
        assert_eq!(size(999), "999B");
        assert_eq!(size(1049), "1kB");
        assert_eq!(size(1050), "1.1kB");
        assert_eq!(size(999_949), "999.9kB");
        assert_eq!(size(999_950), "1MB");
        assert_eq!(size(1 << 30), "1.1GB");
        assert_eq!(size(i64::MAX), "9223.4PB");
    }

    #[test]
    fn sizes_have_units_of_both_kinds() {
        assert_eq!(parse("0"), Ok(0));
        assert_eq!(parse("unlimited"), Ok(0));
        assert_eq!(parse("1234"), Ok(1234));
        assert_eq!(parse("10GB"), Ok(10_000_000_000));
        assert_eq!(parse("10 gb"), Ok(10_000_000_000));
        assert_eq!(parse("512MiB"), Ok(536_870_912));
        assert_eq!(parse("1.5kB"), Ok(1500));
        assert_eq!(parse("9223372036854775807"), Ok(i64::MAX));
    }

    #[test]
    fn an_invalid_size_is_refused_with_a_hint() {
        for wrong in [
            "",
            "GB",
            "-1",
            "1.",
            ".5GB",
            "1e3",
            "10G",
            "10 gigabytes",
            "1.2.3kB",
            "1.00001kB",
            "1,5GB",
            "+1",
            "0x10",
            "NaN",
            "9223372036854775808",
            "9999999PB",
            "340282366920938463463374607431768211456",
            "1.0000000000000000000000000000000000000001PB",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(parse("10G").is_err_and(|error| error.contains("10GB")));
    }

    #[test]
    fn quotas_are_shown_short() {
        assert_eq!(show(0), "unlimited");
        assert_eq!(show(10_000_000_000), "10GB");
        assert_eq!(show(1_550_000_000), "1.55GB");
        assert_eq!(show(1 << 30), "1GiB");
        assert_eq!(show(1024), "1KiB");
        assert_eq!(show(1_000_000_001), "1000000001B");
        assert_eq!(show(999), "999B");
    }
}
