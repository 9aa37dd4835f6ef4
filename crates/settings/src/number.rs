//! Settings that are integers.

use crate::environment::Environment;
use crate::setting::{ConfigError, Setting};

/// A setting that is a whole number within a range; [`number!`](crate::number!) declares one.
#[derive(Clone, Copy, Debug)]
pub struct Number {
    /// Its name, and its range in words.
    pub setting: Setting,
    /// The smallest value that is allowed.
    pub least: u64,
    /// The greatest value that is allowed.
    pub most: u64,
    /// The value if it is unset.
    pub default: u64,
}

/// Declares a setting that is a whole number within a range, which its error names:
/// `number!(QUEUE_SIZE = "OTEL_BSP_MAX_QUEUE_SIZE", "spans", 1, 131072, 2048);`, which is the default. Its documentation is what
/// people read of it.
#[macro_export]
macro_rules! number {
    ($(#[doc = $about:literal])+ $visibility:vis $name:ident = $variable:literal, $unit:literal, $least:literal, $most:literal, $default:literal) => {
        $(#[doc = $about])+
        $visibility const $name: $crate::Number = $crate::Number {
            setting: $crate::Setting::new(
                $variable,
                concat!($($about),+).trim_ascii(),
                concat!("a whole number of ", $unit, " from ", $least, " to ", $most),
                |text| $name.parse(text.trim()).map(drop),
            )
            .or(stringify!($default)),
            least: $least,
            most: $most,
            default: $default,
        };
    };
}

// === impl Number ===

impl Number {
    /// The number that is set, or the default.
    ///
    /// # Errors
    /// Text that is no whole number, or one beyond the range.
    pub fn read(&self, env: &dyn Environment) -> Result<u64, ConfigError> {
        Ok(self.setting.read(env, |text| self.parse(text))?.unwrap_or(self.default))
    }

    /// The number in `text`.
    ///
    /// # Errors
    /// Why it is not allowed.
    pub fn parse(&self, text: &str) -> Result<u64, String> {
        let number = text.parse().map_err(|_| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true if !text.is_empty() => "too large".to_owned(),
            _ => "not a whole number".to_owned(),
        })?;
        match number {
            number if number < self.least => Err("too small".to_owned()),
            number if number > self.most => Err("too large".to_owned()),
            number => Ok(number),
        }
    }
}

#[cfg(test)]
mod tests {
    crate::number!(
        /// How many spans there may be.
        SPANS = "SPANS", "spans", 1, 131072, 2048
    );

    #[test]
    fn a_number_is_held_to_its_range() {
        assert_eq!(SPANS.setting.allowed, "a whole number of spans from 1 to 131072");
        assert_eq!(SPANS.setting.about, "How many spans there may be.", "its documentation");
        let table = [
            ("1", Ok(1)),
            ("131072", Ok(131_072)),
            ("0", Err("too small")),
            ("131073", Err("too large")),
            ("18446744073709551615", Err("too large")),
            ("18446744073709551616", Err("too large")),
            ("-1", Err("not a whole number")),
            ("1.5", Err("not a whole number")),
            ("2s", Err("not a whole number")),
            ("", Err("not a whole number")),
        ];
        for (text, expected) in table {
            assert_eq!(SPANS.parse(text), expected.map_err(str::to_owned), "`{text}`");
            assert_eq!((SPANS.setting.check)(text).is_ok(), expected.is_ok(), "the check of the schema: `{text}`");
        }
    }
}
