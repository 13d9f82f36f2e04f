//! Contracts that do not fit together are refused when the gateway is built, by name.

use rpc_gateway::{BuildError, Gateway, Settings};

use crate::contract::{DESCRIPTOR_SET, compile};

const HEAD: &str = r#"
    syntax = "proto3";
    package probe;
    import "gateway/options/v1/options.proto";
    import "google/api/annotations.proto";
    import "google/protobuf/any.proto";
    import "google/protobuf/timestamp.proto";
    import "google/protobuf/struct.proto";
"#;

/// The error of a contract whose messages and method are these.
fn refused(messages: &str, service: &str, rule: &str) -> String {
    let proto = format!(
        "{HEAD} {messages} service S {{ {service} rpc M(In) returns (Out) {{
            option (google.api.http) = {{ {rule} }}; }} }}"
    );
    match Gateway::new(&compile(&proto), Settings::default()) {
        Ok(_) => panic!("was not refused: {proto}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn options_that_do_not_fit_are_named() {
    let field = |field: &str| format!("message In {{ {field} }} message Out {{}}");
    for (messages, wanted) in [
        (
            "int32 a = 1 [(gateway.options.v1.field).json = JSON_FORM_NUMBER];",
            "probe.In.a: its type cannot",
        ),
        (
            "int64 a = 1 [(gateway.options.v1.field).json = JSON_FORM_TEXT];",
            "probe.In.a: its type cannot",
        ),
        (
            "string a = 1 [(gateway.options.v1.field).json = JSON_FORM_SECONDS_OFFSET];",
            "probe.In.a: its type cannot",
        ),
        (
            "string a = 1 [(gateway.options.v1.field) = {json: JSON_FORM_NUMBER
                fraction_digits_min: 3 fraction_digits_max: 2}];",
            "probe.In.a: its type cannot",
        ),
        (
            "string a = 1 [(gateway.options.v1.field).fraction_digits_min = 2];",
            "probe.In.a: fraction digits without",
        ),
        (
            "string a = 1 [(gateway.options.v1.field).header = \"no header\"];",
            "probe.In.a: `header` is no header name",
        ),
        (
            "repeated string a = 1 [(gateway.options.v1.field).header = \"h\"];",
            "probe.In.a: `header` on a repeated field",
        ),
        (
            "int32 a = 1 [(gateway.options.v1.field).auto_fill = true];",
            "probe.In.a: `auto_fill` on no string field",
        ),
        (
            "repeated Out a = 1 [(gateway.options.v1.field).object_key = \"k\"];",
            "probe.In.a: `object_key` names no string field",
        ),
        (
            "string a = 1 [(gateway.options.v1.field).object_key = \"k\"];",
            "probe.In.a: `object_key` stands on",
        ),
        ("google.protobuf.Any a = 1;", "google.protobuf.Any: an Any has no JSON form here"),
    ] {
        let error = refused(&field(messages), "", "get: \"/a\"");
        assert!(error.starts_with(wanted), "{messages}: {error}");
    }
}

#[test]
fn rules_that_do_not_fit_are_named() {
    let messages = "message In { string a = 1; repeated string b = 2; Out c = 3; }
        message Out { string success = 1; }";
    let key = "option (gateway.options.v1.service).success_key = \"success\";";
    let view = "option (gateway.options.v1.service).view_parameter = \"a\";";
    for (service, rule, wanted) in [
        ("", "get: \"a\"", "path `a`: it does not begin with a slash"),
        ("", "get: \"/{x}\"", "its path names no single plain field: `x`"),
        ("", "get: \"/{b}\"", "its path names no single plain field: `b`"),
        ("", "get: \"/{c}\"", "its path names no single plain field: `c`"),
        ("", "post: \"/a\" body: \"x\"", "its body names no field: `x`"),
        ("", "get: \"/a\" response_body: \"x\"", "its response_body names no field"),
        (
            "",
            "get: \"/{a}\" additional_bindings { get: \"/{c.success}\" }",
            "GET /{c.success} is bound already",
        ),
        ("", "custom: { kind: \"*\" path: \"/a\" }", "`custom.kind` is no HTTP method"),
        ("", "body: \"*\"", "its HTTP rule has no path"),
        (key, "get: \"/a\"", "its response has a field named as the success key"),
        (key, "get: \"/a\" response_body: \"success\"", "its response_body is no object"),
        (view, "get: \"/a\"", "its request has a field named as the view"),
    ] {
        let error = refused(messages, service, rule);
        assert!(error.starts_with("probe.S.M: ") && error.contains(wanted), "{rule}: {error}");
    }
}

#[test]
fn sets_and_settings_that_cannot_be_used() {
    assert!(matches!(Gateway::new(b"x", Settings::default()), Err(BuildError::Descriptors(_))));
    let empty = compile(HEAD);
    assert!(matches!(Gateway::new(&empty, Settings::default()), Err(BuildError::NoRoutes)));
    for settings in [
        Settings { json_depth_max: 0, ..Settings::default() },
        Settings { json_depth_max: 49, ..Settings::default() },
        Settings { number_digits_max: 1001, ..Settings::default() },
    ] {
        assert!(matches!(Gateway::new(&DESCRIPTOR_SET, settings), Err(BuildError::Setting(_))));
    }
}

#[test]
fn paths_are_known_without_a_request() {
    let gateway = Gateway::new(&DESCRIPTOR_SET, Settings::default()).unwrap();
    assert!(gateway.serves("/api/v1/books/5:lend") && gateway.serves("/plain/echo"));
    assert!(!gateway.serves("/") && !gateway.serves("/pages/about"));
    assert!(gateway.message_writer("library.v1.Book").is_ok());
}
