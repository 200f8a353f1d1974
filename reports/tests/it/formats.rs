//! Numbers for people: units, digits, and shares that are never rounded up.

use std::time::Duration;

use reports::format;

#[test]
fn durations_have_three_digits_and_a_unit() {
    for (us, expected) in [
        (0, "0 us"),
        (1, "1 us"),
        (999, "999 us"),
        (1_000, "1 ms"),
        (41_234, "41.2 ms"),
        (999_499, "999 ms"),
        (999_500, "1 s"),
        (1_020_000, "1.02 s"),
        (99_940_000, "99.9 s"),
        (119_400_000, "119 s"),
        (119_600_000, "2m00s"),
        (754_000_000, "12m34s"),
        (7_500_000_000, "2h05m"),
    ] {
        assert_eq!(format::duration(Duration::from_micros(us)), expected, "{us} us");
    }
}

#[test]
fn sizes_are_binary() {
    for (bytes, expected) in [
        (0.0, "0 B"),
        (512.0, "512 B"),
        (1023.4, "1023 B"),
        (1023.9, "1 KiB"),
        (3_200.0, "3.12 KiB"),
        (141_000_000.0, "134 MiB"),
        (1024.0 * 1024.0 - 1.0, "1 MiB"),
        (16.0 * f64::from(1 << 30), "16 GiB"),
        (3e15, "2728 TiB"),
    ] {
        assert_eq!(format::bytes(bytes), expected, "{bytes}");
    }
}

#[test]
fn a_share_is_never_rounded_up_to_the_whole() {
    for (part, whole, expected) in [
        (0, 0, "-"),
        (0, 5, "0%"),
        (5, 5, "100%"),
        (1, 3, "33.3333%"),
        (49_999, 50_000, "99.998%"),
        (9_999_999, 10_000_000, "99.9999%"),
        (u64::MAX - 1, u64::MAX, "99.9999%"),
        (3, 2, "150%"),
    ] {
        assert_eq!(format::share(part, whole), expected, "{part} of {whole}");
    }
    assert_eq!(format::fraction(1.0), "100%");
    assert_eq!(format::fraction(9_999_999.0 / 10_000_000.0), "99.9999%");
    assert_eq!(format::fraction(0.29), "29%");
}

#[test]
fn counts_have_separators_and_their_noun() {
    for (n, expected) in [
        (0, "0 nodes"),
        (1, "1 node"),
        (999, "999 nodes"),
        (1_000, "1,000 nodes"),
        (1_234_567, "1,234,567 nodes"),
    ] {
        assert_eq!(format::counted(n, "node", "nodes"), expected);
    }
}
