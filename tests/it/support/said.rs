//! What a verb said, where it went as it should.

use std::process::Output;

use serde_json::Value;

/// What it says on stdout, where it went well.
pub(crate) fn ok(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// What it says on stderr, where it was refused.
pub(crate) fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// Its JSON, where it went well.
pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_str(&ok(output)).expect("JSON")
}
