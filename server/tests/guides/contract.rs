//! The reference, written from the contract: its descriptors, their comments, and the options that say
//! who may call, how REST maps, and how JSON looks. Not here: who compares it with `docs/reference`.

use prost_reflect::prost_types::FileDescriptorProto;
use prost_reflect::prost_types::method_options::IdempotencyLevel;
use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind,
    MessageDescriptor, MethodDescriptor, ReflectMessage as _, ServiceDescriptor, Value,
};

/// Packages that have a page begin with this.
const CONTRACT: &str = "cryptopayment.";
/// What annotates the contract and is not called by anybody.
const OPTIONS: &str = "cryptopayment.options.v1";
/// The enum that becomes the catalogue of errors.
const REASONS: &str = "cryptopayment.v1.ErrorReason";
/// What its values begin with.
const REASON_PREFIX: &str = "ERROR_REASON_";
/// Where a file's comment is: at its `syntax`.
const SYNTAX: [i32; 1] = [12];
/// What each page begins with.
const NOTE: &str = "<!-- Written by a test from the contract: UPDATE_DOCS=1 cargo test -p cryptopayment \
                    --test guides -->\n";

/// Every page of the reference: its path in the repository and its text.
pub fn pages() -> Vec<(String, String)> {
    let pool = DescriptorPool::decode(cryptopayment_proto::DESCRIPTOR_SET).unwrap();
    let mut files: Vec<FileDescriptor> = pool.files().filter(is_public).collect();
    files.sort_by_key(|file| file.name().to_owned());
    let mut packages: Vec<String> =
        files.iter().map(|file| file.package_name().to_owned()).collect();
    packages.sort_by_key(|package| (package.matches('.').count(), package.clone()));
    packages.dedup();
    let mut pages = vec![
        ("docs/reference/README.md".to_owned(), index(&packages, &files)),
        ("docs/reference/errors.md".to_owned(), errors(&pool)),
    ];
    for package in &packages {
        let own = files.iter().filter(|file| file.package_name() == package);
        let text = page(package, &own.cloned().collect::<Vec<_>>());
        pages.push((format!("docs/reference/{package}.md"), text));
    }
    pages
}

/// The reasons of errors with their comments, in the contract's order.
pub fn reasons() -> Vec<(String, String)> {
    let pool = DescriptorPool::decode(cryptopayment_proto::DESCRIPTOR_SET).unwrap();
    let reasons = pool.get_enum_by_name(REASONS).unwrap();
    let file = reasons.parent_file();
    let named = reasons.values().map(|value| {
        let name = value.name().trim_start_matches(REASON_PREFIX).to_owned();
        (name, comment(&file, value.path()))
    });
    named.filter(|(name, _)| name != "UNSPECIFIED").collect()
}

fn is_public(file: &FileDescriptor) -> bool {
    let package = file.package_name();
    package.starts_with(CONTRACT) && package != OPTIONS
}

/// The comment before an element, as one line.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let file: &FileDescriptorProto = file.file_descriptor_proto();
    let mut places = file.source_code_info.iter().flat_map(|info| &info.location);
    let place = places.find(|place| place.path == path);
    let text = place.map(|place| place.leading_comments().to_owned()).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The same inside a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn index(packages: &[String], files: &[FileDescriptor]) -> String {
    let mut text = format!(
        "{NOTE}# Reference\n\nEvery service, method, message and field of the contract in \
         [`proto/`](../../proto), one page a package; [the reasons of errors](errors.md).\n"
    );
    for package in packages {
        text.push_str(&format!("\n## [{package}]({package}.md)\n\n| service | method | REST |\n"));
        text.push_str("|---|---|---|\n");
        for file in files.iter().filter(|file| file.package_name() == package) {
            for service in file.services() {
                for method in service.methods() {
                    let anchor = method.name().to_lowercase();
                    let rest = rest(&method).unwrap_or_else(|| "none".to_owned());
                    text.push_str(&format!(
                        "| `{}` | [{}]({package}.md#{anchor}) | {rest} |\n",
                        service.name(),
                        method.name(),
                    ));
                }
            }
        }
    }
    text
}

fn errors(pool: &DescriptorPool) -> String {
    let reasons_enum = pool.get_enum_by_name(REASONS).unwrap();
    let about = comment(&reasons_enum.parent_file(), &SYNTAX);
    let mut text = format!(
        "{NOTE}# Reasons of errors\n\n{about}\n\nOver REST a reason is `error.code`; the deployment \
         itself tells the same at `/docs/errors`.\n\n| reason | cause and cure |\n|---|---|\n"
    );
    for (name, about) in reasons() {
        let anchor = name.to_lowercase();
        text.push_str(&format!("| <a id=\"{anchor}\"></a>`{name}` | {} |\n", cell(&about)));
    }
    text
}

fn page(package: &str, files: &[FileDescriptor]) -> String {
    let mut text = format!("{NOTE}# {package}\n");
    for file in files {
        let name = file.name().rsplit('/').next().unwrap_or_default();
        text.push_str(&format!(
            "\n## {name}\n\n{}\n\n[source](../../proto/{})\n",
            comment(file, &SYNTAX),
            file.name()
        ));
        for service in file.services() {
            text.push_str(&service_text(file, &service));
        }
        for message in file.messages() {
            text.push_str(&message_text(file, &message));
        }
        for values in file.enums() {
            text.push_str(&enum_text(file, &values));
        }
    }
    text
}

fn service_text(file: &FileDescriptor, service: &ServiceDescriptor) -> String {
    let mut text = format!("\n### {}\n\n{}\n", service.name(), comment(file, service.path()));
    for method in service.methods() {
        text.push_str(&method_text(file, &method));
    }
    text
}

fn method_text(file: &FileDescriptor, method: &MethodDescriptor) -> String {
    let mut text = format!(
        "\n#### {}\n\n{}\n\n| | |\n|---|---|\n",
        method.name(),
        comment(file, method.path())
    );
    let mut row = |name: &str, value: String| text.push_str(&format!("| {name} | {value} |\n"));
    let package = file.package_name();
    row("gRPC", format!("`/{}/{}`", method.parent_service().full_name(), method.name()));
    if let Some(rest) = rest(method) {
        let is_stream = method.is_server_streaming() && rest.starts_with('`');
        let streams = if is_stream { " (a stream: gRPC alone)" } else { "" };
        row("REST", format!("{rest}{streams}"));
    }
    row("request", link(package, &method.input()));
    let kind = if method.is_server_streaming() { "stream of " } else { "" };
    row("answer", format!("{kind}{}", link(package, &method.output())));
    row("for", access(method, "audience", "AUDIENCE_"));
    row("scope", format!("`{}`", access(method, "scope", "SCOPE_")));
    let options = method.method_descriptor_proto().options.clone().unwrap_or_default();
    row(
        "calling twice",
        match options.idempotency_level() {
            IdempotencyLevel::NoSideEffects => "changes nothing",
            IdempotencyLevel::Idempotent => "is like calling once, with the same request",
            IdempotencyLevel::IdempotencyUnknown => "does it twice",
        }
        .to_owned(),
    );
    text
}

fn message_text(file: &FileDescriptor, message: &MessageDescriptor) -> String {
    let mut text = format!("\n### {}\n\n{}\n", message.name(), comment(file, message.path()));
    if message.fields().len() > 0 {
        text.push_str("\n| field | type | | what |\n|---|---|---|---|\n");
    }
    let mut fields: Vec<FieldDescriptor> = message.fields().collect();
    fields.sort_by_key(|field| field.path().last().copied());
    for field in fields {
        text.push_str(&format!(
            "| `{}` = {} | {} | {} | {} |\n",
            field.name(),
            field.number(),
            type_of(file.package_name(), &field),
            traits_of(&field).join(", "),
            cell(&comment(file, field.path())),
        ));
    }
    text
}

fn enum_text(file: &FileDescriptor, values: &EnumDescriptor) -> String {
    let mut text = format!("\n### {}\n\n{}\n", values.name(), comment(file, values.path()));
    let short = option(&values.options(), "gateway.options.v1.enum_shape")
        .is_some_and(|shape| is_set(&shape, "lower_short"));
    let prefix =
        values.values().next().map(|first| first.name().trim_end_matches("UNSPECIFIED").to_owned());
    let prefix = prefix.unwrap_or_default();
    text.push_str("\n| value | in JSON | what |\n|---|---|---|\n");
    for value in values.values() {
        let json = match value.name().strip_prefix(prefix.as_str()).filter(|_| short) {
            // The gateway reads no such word: the field is left out.
            Some("UNSPECIFIED") => "none".to_owned(),
            Some(word) => format!("`{}`", word.to_lowercase()),
            None => format!("`{}`", value.name()),
        };
        text.push_str(&format!(
            "| `{}` = {} | {json} | {} |\n",
            value.name(),
            value.number(),
            cell(&comment(file, value.path())),
        ));
    }
    text
}

fn link(package: &str, message: &MessageDescriptor) -> String {
    named_link(package, message.full_name(), message.name())
}

fn named_link(package: &str, full_name: &str, name: &str) -> String {
    let other = full_name.strip_suffix(name).unwrap_or_default().trim_end_matches('.');
    if !other.starts_with(CONTRACT) {
        return format!("`{full_name}`");
    }
    let page = if other == package { String::new() } else { format!("{other}.md") };
    format!("[{name}]({page}#{})", name.to_lowercase())
}

fn type_of(package: &str, field: &FieldDescriptor) -> String {
    let name = match field.kind() {
        Kind::Message(message) => link(package, &message),
        Kind::Enum(values) => named_link(package, values.full_name(), values.name()),
        other => format!("{other:?}").to_lowercase(),
    };
    if field.is_list() { format!("list of {name}") } else { name }
}

/// What the options say of a field.
fn traits_of(field: &FieldDescriptor) -> Vec<String> {
    let mut found = Vec::new();
    let options = field.options();
    if let Some(Value::List(behaviors)) = value_of(&options, "google.api.field_behavior") {
        for behavior in behaviors {
            match behavior.as_enum_number() {
                Some(1) => found.push("optional".to_owned()),
                Some(2) => found.push("required".to_owned()),
                _ => {}
            }
        }
    }
    let plain = !matches!(field.kind(), Kind::Message(_));
    if field.supports_presence() && plain && field.containing_oneof().is_some() {
        found.push("can be unset".to_owned());
    }
    let Some(shape) = option(&options, "gateway.options.v1.field") else { return found };
    let number = |name: &str| {
        shape.get_field_by_name(name).and_then(|value| value.as_enum_number()).unwrap_or_default()
    };
    match number("json") {
        1 => found.push("a number in JSON".to_owned()),
        2 => found.push("stands in JSON as it is".to_owned()),
        3 => found.push("`YYYY-MM-DDTHH:MM:SS+00:00` in JSON".to_owned()),
        _ => {}
    }
    if number("view") == 1 {
        found.push("full view".to_owned());
    }
    let text = |name: &str| {
        let value = shape.get_field_by_name(name)?;
        value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    };
    found.extend(text("header").map(|header| format!("header `{header}`")));
    found.extend(text("object_key").map(|key| format!("an object in JSON, by `{key}`")));
    found
}

/// How REST calls a method. No port serves the operator's over REST, whatever path they have.
fn rest(method: &MethodDescriptor) -> Option<String> {
    if access(method, "audience", "AUDIENCE_") == "operator" {
        return Some("none: gRPC on the admin socket alone".to_owned());
    }
    rest_call(method).map(|call| format!("`{call}`"))
}

/// `METHOD /path` of a method.
fn rest_call(method: &MethodDescriptor) -> Option<String> {
    let rule = option(&method.options(), "google.api.http")?;
    ["get", "put", "post", "delete", "patch"].iter().find_map(|verb| {
        let path = rule.get_field_by_name(verb)?;
        let path = path.as_str().filter(|path| !path.is_empty())?;
        Some(format!("{} {path}", verb.to_uppercase()))
    })
}

/// A word of a method's access rule.
fn access(method: &MethodDescriptor, field: &str, prefix: &str) -> String {
    let rule = option(&method.options(), "cryptopayment.options.v1.access").unwrap();
    let values = match rule.descriptor().get_field_by_name(field).unwrap().kind() {
        Kind::Enum(values) => values,
        other => panic!("{field} is {other:?}"),
    };
    let number = rule.get_field_by_name(field).and_then(|value| value.as_enum_number()).unwrap();
    let value = values.get_value(number).unwrap();
    value.name().trim_start_matches(prefix).to_lowercase()
}

fn is_set(message: &DynamicMessage, field: &str) -> bool {
    message.get_field_by_name(field).and_then(|value| value.as_bool()).unwrap_or_default()
}

fn option(options: &DynamicMessage, name: &str) -> Option<DynamicMessage> {
    match value_of(options, name)? {
        Value::Message(message) => Some(message),
        _ => None,
    }
}

fn value_of(options: &DynamicMessage, name: &str) -> Option<Value> {
    let pool = options.descriptor().parent_pool().clone();
    let extension = pool.get_extension_by_name(name)?;
    options.has_extension(&extension).then(|| options.get_extension(&extension).into_owned())
}
