//! Many rows as the source of one statement: arrays on PostgreSQL, lists of VALUES on SQLite. The
//! text of a statement does not change with the number of rows, so that both engines keep it prepared.
//! Not here: what is written with it.

use sea_orm::sea_query::ArrayType;
use sea_orm::{DbBackend, Value};
use uuid::Uuid;

/// Rows of one SQLite statement, largest first: any number of rows is made of these.
const SQLITE_CHUNKS_ROWS: [usize; 3] = [64, 8, 1];

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A UUID; the nil UUID stands for none.
    Id,
    /// A UUID; the nil UUID is the house's.
    HouseOrId,
    /// Text.
    Text,
    /// Text; empty stands for none.
    OptionalText,
    /// A whole number.
    Number,
    /// A whole number; zero stands for none.
    OptionalNumber,
    /// True or false.
    Flag,
    /// Bytes.
    Bytes,
}

impl Kind {
    const fn array(self) -> (&'static str, ArrayType) {
        match self {
            Self::Id | Self::HouseOrId => ("uuid[]", ArrayType::Uuid),
            Self::Text | Self::OptionalText => ("text[]", ArrayType::String),
            Self::Number | Self::OptionalNumber => ("bigint[]", ArrayType::BigInt),
            Self::Flag => ("boolean[]", ArrayType::Bool),
            Self::Bytes => ("bytea[]", ArrayType::Bytes),
        }
    }

    /// The expression that turns what stands for none into NULL.
    fn read(self, place: &str) -> String {
        match self {
            Self::Id => format!("NULLIF({place}, '{}'::uuid)", Uuid::nil()),
            Self::OptionalText => format!("NULLIF({place}, '')"),
            Self::OptionalNumber => format!("NULLIF({place}, 0)"),
            _ => place.to_owned(),
        }
    }

    /// The same value as SQLite takes it.
    fn plain(self, value: Value) -> Value {
        match (self, value) {
            (Self::Id, Value::Uuid(Some(id))) if id.is_nil() => Value::Uuid(None),
            (Self::OptionalText, Value::String(Some(text))) if text.is_empty() => {
                Value::String(None)
            }
            (Self::OptionalNumber, Value::BigInt(Some(0))) => Value::BigInt(None),
            (_, value) => value,
        }
    }
}

/// A column: its name and what it holds. A value of another kind fails the statement.
pub(super) type Column = (&'static str, Kind);

/// One statement's part: SQL that yields the rows, and its values.
pub(super) struct RowSource {
    /// A SELECT or VALUES whose columns come in the declared order.
    pub sql: String,
    /// What its placeholders stand for, in their order. The statement has no others.
    pub values: Vec<Value>,
}

/// `rows` as sources of statements, in their order: one on PostgreSQL, some on SQLite. `constants`
/// are SQL expressions that end each row.
pub(super) fn sources(
    backend: DbBackend,
    columns: &[Column],
    constants: &[&str],
    rows: Vec<Vec<Value>>,
) -> Vec<RowSource> {
    if rows.is_empty() {
        return Vec::new();
    }
    if backend == DbBackend::Postgres {
        return vec![arrays(columns, constants, rows)];
    }
    let mut sources = Vec::new();
    let mut rest = rows.into_iter();
    for chunk in SQLITE_CHUNKS_ROWS {
        while rest.len() >= chunk {
            let rows = rest.by_ref().take(chunk);
            sources.push(lists(columns, constants, rows, chunk));
        }
    }
    sources
}

fn arrays(columns: &[Column], constants: &[&str], rows: Vec<Vec<Value>>) -> RowSource {
    let mut arrays: Vec<Vec<Value>> =
        columns.iter().map(|_| Vec::with_capacity(rows.len())).collect();
    for row in rows {
        for (array, value) in arrays.iter_mut().zip(row) {
            array.push(value);
        }
    }
    let mut selected = Vec::with_capacity(columns.len() + constants.len());
    let mut typed = Vec::with_capacity(columns.len());
    let mut names = Vec::with_capacity(columns.len());
    let mut values = Vec::with_capacity(columns.len());
    for (n, ((name, kind), array)) in columns.iter().zip(arrays).enumerate() {
        let (sql_type, array_type) = kind.array();
        selected.push(kind.read(&format!("r.{name}")));
        typed.push(format!("${}::{sql_type}", n + 1));
        names.push(*name);
        values.push(Value::Array(array_type, Some(Box::new(array))));
    }
    selected.extend(constants.iter().map(|constant| (*constant).to_owned()));
    let sql = format!(
        "SELECT {} FROM unnest({}) AS r ({})",
        selected.join(", "),
        typed.join(", "),
        names.join(", ")
    );
    RowSource { sql, values }
}

fn lists(
    columns: &[Column],
    constants: &[&str],
    rows: impl Iterator<Item = Vec<Value>>,
    count: usize,
) -> RowSource {
    let mut values = Vec::with_capacity(count * columns.len());
    for row in rows {
        values.extend(columns.iter().zip(row).map(|((_, kind), value)| kind.plain(value)));
    }
    // Without names: SQLite looks each name up among all names of the statement.
    let places = std::iter::repeat_n("?", columns.len()).chain(constants.iter().copied());
    let group = format!("({})", places.collect::<Vec<_>>().join(", "));
    let groups = vec![group; count].join(", ");
    RowSource { sql: format!("VALUES {groups}"), values }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] =
        [("id", Kind::Id), ("note", Kind::OptionalText), ("n", Kind::Number)];

    fn rows(count: usize) -> Vec<Vec<Value>> {
        (0..count).map(|n| vec![Uuid::nil().into(), "".into(), (n as i64).into()]).collect()
    }

    #[test]
    fn postgres_takes_one_text_for_any_number_of_rows() {
        let few = sources(DbBackend::Postgres, &COLUMNS, &["'x'"], rows(2));
        let many = sources(DbBackend::Postgres, &COLUMNS, &["'x'"], rows(300));
        assert_eq!((few.len(), many.len()), (1, 1));
        assert_eq!(few[0].sql, many[0].sql);
        assert_eq!(
            few[0].sql,
            "SELECT NULLIF(r.id, '00000000-0000-0000-0000-000000000000'::uuid), \
             NULLIF(r.note, ''), r.n, 'x' \
             FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS r (id, note, n)"
        );
    }

    #[test]
    fn sqlite_takes_chunks_of_a_few_sizes_in_the_rows_order() {
        let sources = sources(DbBackend::Sqlite, &COLUMNS, &["'x'"], rows(75));
        let lengths: Vec<usize> = sources.iter().map(|source| source.values.len() / 3).collect();
        assert_eq!(lengths, [64, 8, 1, 1, 1]);
        assert_eq!(sources[4].sql, "VALUES (?, ?, ?, 'x')");
        assert_eq!(sources[4].values[2], 74_i64.into());
        assert_eq!(sources[0].values[..2], [Value::Uuid(None), Value::String(None)]);
        assert!(super::sources(DbBackend::Sqlite, &COLUMNS, &[], rows(0)).is_empty());
    }
}
